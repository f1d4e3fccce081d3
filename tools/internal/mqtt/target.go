package mqtt

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
)

// Target is where messages go.
type Target struct {
	Address        string // HOST:PORT
	TLS            bool
	CA             string // a file of certificates that vouch for the broker's; "": those of the system
	User, Password string
	Topic          string
	QoS            byte
}

// statusTopic follows the topic: "online" or "offline", retained.
const statusTopic = "/status"

const want = "want tcp://[USER:PASSWORD@]HOST[:PORT]/TOPIC[?qos=0], or mqtts:// for TLS"

// Parse reads tcp://HOST/TOPIC. What it returns as an error never holds the password.
func Parse(text string) (t Target, err error) {
	u, err := url.Parse(text)
	if err != nil {
		return t, errors.New("no URL: " + want)
	}
	port := "1883"
	switch u.Scheme {
	case "tcp", "mqtt":
	case "mqtts", "ssl", "tls":
		port, t.TLS = "8883", true
	default:
		return t, fmt.Errorf("scheme %q: %s", u.Scheme, want)
	}
	if p := u.Port(); p != "" {
		port = p
	}
	if u.Hostname() == "" {
		return t, errors.New("no host: " + want)
	}
	t.Address = net.JoinHostPort(u.Hostname(), port)
	t.User = u.User.Username()
	t.Password, _ = u.User.Password()
	t.Topic = strings.TrimPrefix(u.Path, "/")
	switch {
	case strings.Contains(text, "#") || strings.ContainsAny(t.Topic, "+#\x00"):
		return t, errors.New("a topic to publish to has no + and no #")
	case t.Topic == "" || strings.HasSuffix(t.Topic, "/"):
		return t, errors.New("no topic: " + want)
	case len(t.Topic) > 1<<15:
		return t, errors.New("the topic is too long")
	}
	return t, t.query(u)
}

func (t *Target) query(u *url.URL) error {
	values, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return errors.New("after the question mark: want qos=0, 1 or 2, and ca=FILE")
	}
	t.QoS = 1
	for key, v := range values {
		switch {
		case key == "qos" && slices.Contains([]string{"0", "1", "2"}, v[0]):
			t.QoS = v[0][0] - '0'
		case key == "ca" && v[0] != "" && t.TLS:
			t.CA = v[0]
		case key == "ca" && v[0] != "":
			return errors.New("ca=FILE goes with mqtts")
		default:
			return fmt.Errorf("%s=%s: want qos=0, 1 or 2, and ca=FILE", key, v[0])
		}
	}
	return nil
}
