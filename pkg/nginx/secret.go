package nginx

import (
	"fmt"

	"fairlead/pkg/fleet"
)

// Secret is a file's content that only this node can read. It stands beside
// the content that the digest is made from, which says what the secret is
// without telling it.
type Secret struct {
	// Sealed is opened by Config.Open when the bundle is staged.
	Sealed string
	// Field is where the resource holds it.
	Field string
	// Read makes the file's content of what was opened. Its error says what is
	// wrong with that, without showing any of it.
	Read func(opened []byte) ([]byte, error)
}

// unseal puts the secrets of a bundle in the place of their stand-ins. The
// faults name the resources and tell nothing of the secrets.
func (e *Engine) unseal(b Bundle) (Bundle, error) {
	var faults fleet.Faults
	open := Bundle{Digest: b.Digest, Files: make([]File, len(b.Files))}
	for i, f := range b.Files {
		if f.Secret != nil {
			content, err := e.unsealed(*f.Secret)
			if err != nil {
				faults = append(faults, fleet.Fault{Subject: f.Owner, Path: f.Secret.Field, Message: err.Error()})
			}
			f.bundled, f.Content = f.Content, content
		}
		open.Files[i] = f
	}
	return open, faults.Err()
}

func (e *Engine) unsealed(s Secret) ([]byte, error) {
	if e.cfg.Open == nil {
		return nil, fmt.Errorf("this node has no key to open it with")
	}
	opened, err := e.cfg.Open(s.Sealed)
	if err != nil {
		return nil, fmt.Errorf("this node cannot open it: %w", err)
	}
	content, err := s.Read(opened)
	if err != nil {
		return nil, fmt.Errorf("what is sealed %w", err)
	}
	return content, nil
}
