// Package syslog receives what nginx and its neighbours log.
//
// It promises three things. Nothing that is received can stop it: garbage
// becomes a record whose message is the garbage. Nothing is lost unseen: what
// it had to drop, cut or refuse is counted (Stats). Memory is bounded: by the
// length of one message, by the number of connections, by the queue before
// the handler.
//
// Order is kept per sender. Records are handed over one at a time.
//
// Parse reads one message; Listen and Listener.Run receive them from a socket.
package syslog

import (
	"bytes"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	gosyslog "github.com/leodido/go-syslog/v4"
	"github.com/leodido/go-syslog/v4/rfc3164"
	"github.com/leodido/go-syslog/v4/rfc5424"
)

// MaxLength is the most bytes of one message that are looked at; the rest is
// cut off. A UDP or unix datagram is not longer; RFC 5424 asks for 2 KiB.
const MaxLength = 64 << 10

// What a message is taken for that does not say (RFC 3164, 4.3.3).
const (
	defaultFacility = 1 // user
	defaultSeverity = 5 // notice
)

// ErrEmpty is the error of Parse for a message with nothing in it.
var ErrEmpty = errors.New("syslog message is empty")

// Record is one log message.
type Record struct {
	// At is when the sender says it was written, in UTC, and zero where it
	// does not say. RFC 3164 sends neither year nor zone: the zone is this
	// host's, the year the latest that puts the message no more than a day
	// after it was received.
	At       time.Time `json:"at,omitzero"`
	Facility int       `json:"facility"`          // 0 to 23; 1 (user) where the sender does not say
	Severity int       `json:"severity"`          // 0 (emergency) to 7 (debug); 5 (notice) where the sender does not say
	Host     string    `json:"host,omitempty"`    // as the sender calls itself
	App      string    `json:"app,omitempty"`     // nginx's tag
	PID      string    `json:"pid,omitempty"`     // not always a number
	Message  string    `json:"message,omitempty"` // valid UTF-8; control characters but tab and newline are written as \x1b
}

// Level is the severity's keyword: emerg, alert, crit, err, warning, notice,
// info or debug.
func (r Record) Level() string {
	words := [...]string{"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"}
	return words[r.Severity&7]
}

// Parse reads a message received now; see ParseAt.
func Parse(data []byte) (Record, error) { return ParseAt(data, time.Now()) }

// ParseAt reads one message as RFC 5424 or RFC 3164, by its first bytes.
// Of a message that follows neither to its end the fields that could be read
// are filled and Message is everything after the priority, so nothing is
// lost. The only error is ErrEmpty. The received time and its zone complete
// an RFC 3164 time.
func ParseAt(data []byte, received time.Time) (Record, error) {
	text := clean(data)
	if text == "" {
		return Record{}, ErrEmpty
	}
	facility, severity, rest, ok := priority(text)
	r := Record{Facility: facility, Severity: severity}
	if !ok {
		r.Message = text
		return r, nil
	}
	if strings.TrimSpace(rest) == "" {
		return Record{}, ErrEmpty
	}
	base, whole := decode(text, strings.HasPrefix(rest, "1 "))
	r.At = complete(value(base.Timestamp), received)
	r.Host, r.App, r.PID = value(base.Hostname), value(base.Appname), value(base.ProcID)
	r.Message = rest
	if message := strings.TrimPrefix(value(base.Message), "\ufeff"); whole && message != "" {
		r.Message = message
	}
	return r, nil
}

// priority splits "<190>rest" into facility 23, severity 6 and the rest.
func priority(text string) (facility, severity int, rest string, ok bool) {
	n := 0
	for i := 1; i < len(text) && i <= 4 && text[0] == '<'; i++ {
		switch c := text[i]; {
		case c >= '0' && c <= '9':
			n = n*10 + int(c-'0')
		case c == '>' && i > 1 && n <= 191:
			return n / 8, n % 8, text[i+1:], true
		default:
			return defaultFacility, defaultSeverity, text, false
		}
	}
	return defaultFacility, defaultSeverity, text, false
}

// decode has the library read the text and says whether that was no error.
// Text that just ends too early is none to the library; it has no message.
// The library is a generated state machine fed by strangers, so a panic in it
// counts as text that it cannot read.
func decode(text string, new5424 bool) (base gosyslog.Base, whole bool) {
	defer func() {
		if recover() != nil {
			base, whole = gosyslog.Base{}, false
		}
	}()
	if new5424 {
		m, err := rfc5424.NewMachine(rfc5424.WithBestEffort()).Parse([]byte(text))
		if m, ok := m.(*rfc5424.SyslogMessage); ok && m != nil {
			base = m.Base
		}
		return base, err == nil
	}
	m, err := rfc3164.NewMachine(rfc3164.WithBestEffort(), rfc3164.WithRFC3339(), rfc3164.WithLenientDay(),
		rfc3164.WithSecondFractions(), rfc3164.WithEmbeddedNewlines()).Parse([]byte(text))
	if m, ok := m.(*rfc3164.SyslogMessage); ok && m != nil {
		base = m.Base
	}
	return base, err == nil
}

// complete gives a time without a year its year and zone. February 29th is
// why more than two years are tried.
func complete(t, received time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	if t.Year() != 0 {
		if t = t.UTC(); t.Year() < 1 || t.Year() > 9999 { // beyond what JSON can say
			return time.Time{}
		}
		return t
	}
	latest := received.Add(24 * time.Hour)
	for year := latest.Year(); year > latest.Year()-9; year-- {
		at := time.Date(year, t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), received.Location())
		if at.Day() == t.Day() && !at.After(latest) {
			return at.UTC()
		}
	}
	return time.Time{}
}

// clean cuts, makes valid UTF-8 and disarms control characters, which could
// otherwise steer the terminal of whoever reads the log.
func clean(data []byte) string {
	data = bytes.TrimRight(data[:min(len(data), MaxLength)], "\r\n\x00 ")
	if len(bytes.TrimSpace(data)) == 0 {
		return ""
	}
	var b strings.Builder
	b.Grow(len(data))
	for len(data) > 0 && b.Len() < MaxLength-4 {
		r, size := utf8.DecodeRune(data)
		if control(r) {
			const hex = "0123456789abcdef"
			b.WriteString(`\x` + string(hex[r>>4]) + string(hex[r&15]))
		} else {
			b.WriteRune(r)
		}
		data = data[size:]
	}
	return b.String()
}

// control is true for what clean writes in hexadecimal: C0 but tab and
// newline, DEL, and C1.
func control(r rune) bool {
	return r < 0x20 && r != '\t' && r != '\n' || r >= 0x7f && r < 0xa0
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
