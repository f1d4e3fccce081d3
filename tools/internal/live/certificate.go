package live

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"
)

// validity is the longest that browsers of all makers take.
const validity = 397 * 24 * time.Hour

// SelfSigned makes a certificate for this machine's names and addresses. Where files are named, it is theirs, or is written to them if they are not
// there or if it has ended, so that browsers need to be told only once that it is right.
func SelfSigned(certFile, keyFile string) (tls.Certificate, error) {
	if certFile != "" {
		c, err := tls.LoadX509KeyPair(certFile, keyFile)
		switch {
		case err == nil && time.Now().Before(c.Leaf.NotAfter):
			return c, nil
		case err != nil && !errors.Is(err, os.ErrNotExist):
			return c, err
		}
	}
	cert, key, err := newCertificate()
	if err != nil {
		return tls.Certificate{}, err
	}
	if certFile != "" {
		if err := errors.Join(replace(keyFile, key, 0o600), replace(certFile, cert, 0o644)); err != nil {
			return tls.Certificate{}, err
		}
	}
	return tls.X509KeyPair(cert, key)
}

// newCertificate returns both in PEM.
func newCertificate() (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, err
	}
	name, err := os.Hostname()
	if err != nil {
		name = "localhost"
	}
	c := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "gesture on " + name},
		NotBefore:    time.Now().Add(-24 * time.Hour), // boards without a clock that runs on
		NotAfter:     time.Now().Add(validity),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"localhost", name, name + ".local"},
		IPAddresses:  addresses(),
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &private.PublicKey, private)
	if err != nil {
		return nil, nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), nil
}

// addresses are this machine's, without those that are valid on one link only, and with its own for itself last.
func addresses() []net.IP {
	var all, own []net.IP
	found, _ := net.InterfaceAddrs()
	for _, a := range found {
		n, ok := a.(*net.IPNet)
		switch {
		case !ok || n.IP.IsLinkLocalUnicast():
		case n.IP.IsLoopback():
			own = append(own, n.IP)
		default:
			all = append(all, n.IP)
		}
	}
	return append(all, own...)
}

// Fingerprint is what browsers show of a certificate.
func Fingerprint(c tls.Certificate) string {
	return fmt.Sprintf("% X", sha256.Sum256(c.Certificate[0]))
}

// replace writes a file as a whole or not at all.
func replace(path string, b []byte, mode os.FileMode) error {
	temporary := path + ".new"
	err := os.WriteFile(temporary, b, mode)
	if err == nil {
		err = os.Rename(temporary, path)
	}
	return err
}
