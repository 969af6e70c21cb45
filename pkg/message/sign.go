package message

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/nats-io/nkeys"

	"fairlead/pkg/fleet"
)

// Signer is who signs: a user of the broker.
type Signer interface {
	// PublicKey is the signer's public nkey, "U…".
	PublicKey() string
	// Sign returns the Ed25519 signature of data.
	Sign(data []byte) ([]byte, error)
}

// Sign sets Key and Signature, and decides whether the body travels packed.
// Everything else must be as it will travel. The error is Invalid for what no
// header can carry, such as a line break.
func (m *Message) Sign(s Signer) error {
	if err := m.Unpack(); err != nil { // it arrived and is signed anew
		return fmt.Errorf("sign message: %w", err)
	}
	m.pack()
	m.Key = s.PublicKey()
	m.Expires = m.Expires.Truncate(time.Second)
	data, err := m.signed()
	if err != nil {
		return fleet.Errorf(fleet.Invalid, "sign message %s: %w", m.ID, err)
	}
	signature, err := s.Sign(data)
	if err != nil {
		return fmt.Errorf("sign message %s: %w", m.ID, err)
	}
	m.Signature = base64.RawURLEncoding.EncodeToString(signature)
	return nil
}

// signed is what the signature covers: one line per part, the headers sorted.
//
// Two messages that differ never look the same here, because no part can end
// its line and no token of the subject or name of a header can go on into what
// follows it. The error says which part could. Of a packed body it is the packed
// bytes that count, and a header says so: nobody has to unpack what is not proven,
// and no text can pass for what another one is packed as.
//
// It begins with a byte that no UTF-8 has. A NATS client signs, with the same
// key, what a server sends as nonce in a JSON text; so no server can have a
// message signed that way, not even by the nats tool.
func (m Message) signed() ([]byte, error) {
	headers := m.Headers()
	names := make([]string, 0, len(headers))
	for name := range headers {
		if strings.HasPrefix(name, headerPrefix) && name != HeaderSignature {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	subject := m.Subject.String()
	if strings.Count(subject, ".") != 3 || !plain(subject) {
		return nil, fmt.Errorf("%q is not a subject of four tokens", subject)
	}
	if !plain(m.ID) {
		return nil, fmt.Errorf("%q is not a message id", m.ID)
	}

	b := make([]byte, 0, 512)
	b = append(b, "\xfffairlead message 1\n"...)
	b = append(append(b, subject...), '\n')
	b = append(append(b, m.ID...), '\n')
	for _, name := range names {
		if !plain(name) || strings.ContainsRune(name, ':') {
			return nil, fmt.Errorf("%q is not the name of a header", name)
		}
		for _, value := range headers[name] {
			if !plain(value) {
				return nil, fmt.Errorf("header %s: %q is not one line of plain text", name, value)
			}
			b = append(append(append(append(b, name...), ": "...), value...), '\n')
		}
	}
	sum := sha256.Sum256(m.Wire())
	return hex.AppendEncode(b, sum[:]), nil
}

// plain reports whether every way that a message travels carries the text
// unchanged: a NATS header ends at a line break and is trimmed, and JSON, by
// which stations hand messages on, knows no broken UTF-8.
func plain(text string) bool {
	if !utf8.ValidString(text) || strings.TrimSpace(text) != text {
		return false
	}
	return !strings.ContainsFunc(text, unicode.IsControl)
}

// CheckSignature reports whether the holder of m.Key signed the message as it
// is. The error is Refused. It says nothing about whether that key may send it.
func (m Message) CheckSignature() error {
	if m.Signature == "" || m.Key == "" {
		return fleet.Errorf(fleet.Refused, "the message is not signed: send it with fairlead, or sign it with a trusted key")
	}
	signature, err := base64.RawURLEncoding.DecodeString(m.Signature)
	if err != nil {
		return fleet.Errorf(fleet.Refused, "the signature is not base64: %v", err)
	}
	public, err := publicKey(m.Key)
	if err != nil {
		return err
	}
	data, err := m.signed()
	if err != nil {
		return fleet.Errorf(fleet.Refused, "the message cannot have been signed: %w", err)
	}
	if !ed25519.Verify(public, data, signature) {
		return fleet.Errorf(fleet.Refused, "the signature does not fit: subject, headers or body are not what key %s signed", short(m.Key))
	}
	return nil
}

// publicKeys remembers decoded keys: a fleet has few that speak often. It is
// emptied when it has grown past its bound, so strangers cannot fill memory.
var publicKeys = struct {
	sync.RWMutex
	byText map[string]ed25519.PublicKey
}{byText: make(map[string]ed25519.PublicKey)}

const publicKeysKept = 1 << 16

func publicKey(text string) (ed25519.PublicKey, error) {
	publicKeys.RLock()
	key, ok := publicKeys.byText[text]
	publicKeys.RUnlock()
	if ok {
		return key, nil
	}
	raw, err := nkeys.Decode(nkeys.PrefixByteUser, []byte(text))
	if err != nil || len(raw) != ed25519.PublicKeySize {
		return nil, fleet.Errorf(fleet.Refused, "%q is not a user's public key", text)
	}
	publicKeys.Lock()
	defer publicKeys.Unlock()
	if len(publicKeys.byText) >= publicKeysKept {
		clear(publicKeys.byText)
	}
	publicKeys.byText[text] = raw
	return raw, nil
}

func short(key string) string {
	if len(key) > 12 {
		return key[:12] + "…"
	}
	return key
}
