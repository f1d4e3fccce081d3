package fromtorch

import (
	"bytes"

	"github.com/recur-go/recur/tools/internal/safetensors"
	"github.com/recur-go/recur/tools/internal/torchfile"
)

// Extensions are those of the files that Read takes.
var Extensions = []string{".pt", ".pth", ".safetensors"}

// Read reads a .safetensors file, or one that torch.save or torch.jit.save wrote; the content tells which.
func Read(b []byte) (*torchfile.File, error) {
	if bytes.HasPrefix(b, []byte("PK")) || bytes.HasPrefix(b, []byte{0x80}) && (len(b) < 9 || b[8] != '{') {
		return torchfile.Read(b)
	}
	all, err := safetensors.Read(b)
	if err != nil {
		return nil, err
	}
	return &torchfile.File{Tensors: all}, nil
}
