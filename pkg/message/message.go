package message

import (
	"crypto/rand"
	"time"
	"unicode/utf8"

	"github.com/oklog/ulid/v2"

	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

// Names of the headers. HeaderID is JetStream's own.
const (
	HeaderID        = "Nats-Msg-Id"
	HeaderFrom      = "Fairlead-From"
	HeaderKey       = "Fairlead-Key"
	HeaderExpires   = "Fairlead-Expires"
	HeaderCommand   = "Fairlead-Command"
	HeaderState     = "Fairlead-State"
	HeaderReplays   = "Fairlead-Replays"
	HeaderNote      = "Fairlead-Note"
	HeaderChange    = "Fairlead-Change"
	HeaderOperation = "Fairlead-Operation"
	HeaderOrder     = "Fairlead-Order"
	HeaderSignature = "Fairlead-Signature"
	HeaderTrace     = "traceparent"

	headerPrefix = "Fairlead-"
)

// MaxBody is the largest body of a command or an answer, in bytes. It stays
// well under the broker's largest payload (1 MiB), so that an answer which
// quotes a body still fits.
const MaxBody = 512 << 10

// DefaultExpiry is how long a command waits for its node unless it says so itself.
const DefaultExpiry = 7 * 24 * time.Hour

// MaxNote is how long a Note may be, in characters: some lines of a terminal.
const MaxNote = 500

// CheckNote reports whether a text can be a Note: one line of plain text, at most
// MaxNote long. The error is Invalid; an empty text is none and passes.
func CheckNote(text string) error {
	switch n := utf8.RuneCountInString(text); {
	case n > MaxNote:
		return fleet.Errorf(fleet.Invalid, "a message has %d characters: at most %d", n, MaxNote)
	case !plain(text):
		return fleet.Errorf(fleet.Invalid, "a message must be one line of plain text, without spaces before or behind it")
	}
	return nil
}

// Message is one command or event. Times have a resolution of a second where
// they travel.
type Message struct {
	Subject   subjects.Subject
	ID        string    // a ULID; an answer's is its command's with the state added
	From      string    // name of the sender, for people; Key is the proof
	Key       string    // public nkey of the signer
	Expires   time.Time // commands only
	Trace     string    // W3C traceparent, not signed
	Command   string    // answers: the command's id
	State     State     // answers
	Replays   string    // the id of the message that this one repeats
	Operation string    // documents in a bucket: "delete", or empty for a value
	Order     string    // commands: the id of the order that this one is of
	Note      string    // why, in the words of who sends it; see CheckNote
	Change    string    // documents in a bucket: a ULID that all have that were changed in one step
	Vouch     string    // documents in a bucket: see VouchFor; not signed
	// Body is what the message says. One that arrived packed has none before Unpack,
	// which those functions call that verify a message.
	Body      []byte
	Signature string

	packed []byte // the body as it travels, nil where that is Body

	extra map[string][]string // further Fairlead headers, signed too
}

// NewID returns a new ULID: sortable by time, 26 characters.
func NewID() string { return ulid.MustNew(ulid.Now(), rand.Reader).String() }

// DerivedID is the ULID that belongs to a moment and a seed of at least ten
// bytes: two stations that mean the same command give it the same id.
func DerivedID(at time.Time, seed []byte) string {
	var id ulid.ULID
	// The only error is a time after the year 10889.
	_ = id.SetTime(ulid.Timestamp(at))
	copy(id[6:], seed)
	return id.String()
}

// CreatedAt is the moment that a ULID was made at, by its maker's clock.
func CreatedAt(id string) (time.Time, bool) {
	u, err := ulid.ParseStrict(id)
	if err != nil {
		return time.Time{}, false
	}
	return ulid.Time(u.Time()), true
}

// StoredSubject is where the message is published.
func (m Message) StoredSubject() string {
	if m.ID == "" {
		return subjects.Stored(m.Subject, subjects.NoID)
	}
	return subjects.Stored(m.Subject, m.ID)
}
