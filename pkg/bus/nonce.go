package bus

import (
	"regexp"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
)

// nonce is what nats-server asks a client to sign: 11 random bytes in base64,
// of which later versions may take more.
var nonce = regexp.MustCompile(`^[A-Za-z0-9_-]{8,64}$`)

// prove signs a server's nonce with the user's key, which signs commands too.
// A server that asks for a signature of anything else wants to speak in the
// user's name; one that asks for none takes anybody. The error is Refused.
func prove(signer message.Signer, asked []byte) ([]byte, error) {
	if !nonce.Match(asked) {
		return nil, fleet.Errorf(fleet.Refused, "the server asks for a signature of %d bytes that are no nonce: it is no NATS server with authentication, and nothing was signed", len(asked))
	}
	return signer.Sign(asked)
}
