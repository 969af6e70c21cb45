package message

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/nats-io/nkeys"

	"fairlead/pkg/fleet"
)

// Curve is a curve key pair (xkey): what is sealed to its public half nobody
// opens without it. It is safe for use by several goroutines.
type Curve struct {
	pair   nkeys.KeyPair
	public string
}

// NewCurve makes a key pair. The seed is for its holder's disk alone.
func NewCurve() (c Curve, seed []byte, err error) {
	pair, err := nkeys.CreateCurveKeys()
	if err != nil {
		return c, nil, err
	}
	if seed, err = pair.Seed(); err != nil {
		return c, nil, err
	}
	c, err = CurveOf(seed)
	return c, seed, err
}

// CurveOf is the key pair of a seed, "SX…". The error is Invalid and does not
// show it.
func CurveOf(seed []byte) (Curve, error) {
	pair, err := nkeys.FromCurveSeed([]byte(strings.TrimSpace(string(seed))))
	if err != nil {
		return Curve{}, fleet.Errorf(fleet.Invalid, "is not the seed of a curve key (SX…)")
	}
	public, err := pair.PublicKey()
	return Curve{pair, public}, err
}

// Public is the public half, "X…"; "" for the zero Curve.
func (c Curve) Public() string { return c.public }

// ValidCurve reports whether a text is a public curve key.
func ValidCurve(public string) bool { return len(public) == 56 && nkeys.IsValidPublicCurveKey(public) }

// Seal makes a secret readable for the holder of a public curve key alone. The
// result is one word: the public half of a key that was made for this once and
// is forgotten, a dot, and what nkeys sealed, in base64. It says nothing about
// who sealed it; the signature of the document that holds it does.
func Seal(secret []byte, to string) (string, error) {
	if !ValidCurve(to) {
		return "", fleet.Errorf(fleet.Invalid, "%q is not a public curve key (X…)", to)
	}
	once, err := nkeys.CreateCurveKeys()
	if err != nil {
		return "", err
	}
	defer once.Wipe()
	from, err := once.PublicKey()
	if err != nil {
		return "", err
	}
	box, err := once.Seal(secret, to)
	if err != nil {
		return "", fmt.Errorf("seal: %w", err)
	}
	return from + "." + base64.RawURLEncoding.EncodeToString(box), nil
}

// Open is the inverse of Seal. The error is Refused where it was sealed to
// somebody else or changed since, Invalid where it is nothing sealed at all.
func (c Curve) Open(sealed string) ([]byte, error) {
	if c.pair == nil {
		return nil, fleet.Errorf(fleet.Refused, "there is no curve key here to open it with")
	}
	from, text, _ := strings.Cut(sealed, ".")
	box, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || !ValidCurve(from) {
		return nil, fleet.Errorf(fleet.Invalid, "it is not sealed")
	}
	secret, err := c.pair.Open(box, from)
	if err != nil {
		return nil, fleet.Errorf(fleet.Refused, "it was sealed to another key than %s, or changed since", short(c.public))
	}
	return secret, nil
}

// StationCurve is the curve key pair of a fleet's stations, which all share
// one, and the account's word for it.
type StationCurve struct {
	Curve
	Account string // public nkey of the account
	Voucher string // its signature, base64
	// Older are the keys that this one takes the place of: what was sealed to
	// them is opened still.
	Older []StationCurve
}

// Open opens what was sealed to this key, or to an older one. The error is as of
// Curve.Open.
func (c StationCurve) Open(sealed string) ([]byte, error) {
	secret, err := c.Curve.Open(sealed)
	for _, older := range c.Older {
		if fleet.KindOf(err) != fleet.Refused {
			break
		}
		if opened, oerr := older.Open(sealed); oerr == nil {
			return opened, nil
		}
	}
	return secret, err
}

// Named is this key, or the older one whose public half is given: what people
// are told to seal to. It is this key where none is given, or an unknown one.
func (c StationCurve) Named(public string) StationCurve {
	for _, older := range c.Older {
		if older.Public() == public {
			return older
		}
	}
	return c
}

// vouched is what the account signs: whose secrets the key is good for.
func vouched(account, public string) []byte {
	return []byte("fairlead station curve 1\n" + account + "\n" + public + "\n")
}

// Vouch signs a public curve key with the account's key.
func Vouch(account nkeys.KeyPair, public string) (string, error) {
	name, err := account.PublicKey()
	if err != nil {
		return "", err
	}
	signature, err := account.Sign(vouched(name, public))
	return base64.RawURLEncoding.EncodeToString(signature), err
}

// CheckVoucher reports whether the account says that a curve key is its
// stations'. A user knows its account by its own credentials, so that neither
// the broker nor who answers in a station's name can put another key there.
// The error is Refused.
func CheckVoucher(account, public, voucher string) error {
	refused := fleet.Errorf(fleet.Refused, "the stations' curve key is not vouched for by account %s of your credentials: "+
		"a private key sealed to it could be read by a stranger", short(account))
	signature, err := base64.RawURLEncoding.DecodeString(voucher)
	if err != nil || !ValidCurve(public) || !nkeys.IsValidPublicAccountKey(account) {
		return refused
	}
	key, err := nkeys.FromPublicKey(account)
	if err != nil || key.Verify(vouched(account, public), signature) != nil {
		return refused
	}
	return nil
}
