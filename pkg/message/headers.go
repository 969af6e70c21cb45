package message

import (
	"maps"
	"slices"
	"strings"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

// Headers are the message's headers as NATS carries them.
func (m Message) Headers() map[string][]string {
	h := make(map[string][]string, 8)
	for name, values := range m.extra {
		h[name] = values
	}
	set := func(name, value string) {
		if value != "" {
			h[name] = []string{value}
		}
	}
	set(HeaderID, m.ID)
	set(HeaderFrom, m.From)
	set(HeaderKey, m.Key)
	if !m.Expires.IsZero() {
		set(HeaderExpires, m.Expires.UTC().Format(time.RFC3339))
	}
	set(HeaderCommand, m.Command)
	set(HeaderState, string(m.State))
	set(HeaderReplays, m.Replays)
	set(HeaderOperation, m.Operation)
	set(HeaderOrder, m.Order)
	set(HeaderNote, m.Note)
	set(HeaderChange, m.Change)
	set(HeaderSignature, m.Signature)
	set(HeaderTrace, m.Trace)
	set(HeaderVouch, m.Vouch)
	if m.packed != nil {
		set(HeaderEncoding, encodingZstd)
	}
	return h
}

// Decode reads a message from a four-token subject, headers and a body. The
// error is Invalid and names the header that is wrong; what could be read is
// returned beside it, so that the refusal can name the message.
func Decode(subject string, headers map[string][]string, body []byte) (Message, error) {
	s, err := subjects.Parse(subject)
	m, faults := DecodeAs(s, headers, body)
	if err != nil {
		faults = append(fleet.Faults{{Path: "subject", Message: err.Error()}}, faults...)
	}
	return m, faults.Err()
}

// DecodeAs is Decode for a document whose subject is known by other means,
// such as a key in a bucket.
func DecodeAs(s subjects.Subject, headers map[string][]string, body []byte) (Message, fleet.Faults) {
	m := Message{Subject: s, Body: body}
	packed := false
	var faults fleet.Faults
	var err error
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		values := headers[name]
		if len(values) == 0 {
			continue
		}
		value := values[0]
		if len(values) > 1 && strings.HasPrefix(name, headerPrefix) {
			faults.Addf("header "+name, "given %d times", len(values))
		}
		switch name {
		case HeaderID:
			if !subjects.ValidID(value) {
				faults.Addf("header "+name, "%q is not a message id", value)
				continue
			}
			m.ID = value
		case HeaderFrom:
			m.From = value
		case HeaderKey:
			m.Key = value
		case HeaderExpires:
			// Only in the form that Sign wrote: the signature covers that form,
			// and half a second more would not show in it.
			if m.Expires, err = time.Parse(time.RFC3339, value); err != nil || m.Expires.UTC().Format(time.RFC3339) != value {
				faults.Addf("header "+name, "%q is not a time such as 2026-01-02T15:04:05Z", value)
				m.Expires = time.Time{}
			}
		case HeaderCommand:
			m.Command = value
		case HeaderState:
			if m.State = State(value); !m.State.valid() {
				faults.Addf("header "+name, "%q is not a state", value)
			}
		case HeaderReplays:
			m.Replays = value
		case HeaderOperation:
			m.Operation = value
		case HeaderOrder:
			m.Order = value
		case HeaderNote:
			if m.Note = value; CheckNote(value) != nil {
				faults.Addf("header "+name, "%v", CheckNote(value))
			}
		case HeaderChange:
			m.Change = value
		case HeaderSignature:
			m.Signature = value
		case HeaderTrace:
			m.Trace = value
		case HeaderVouch:
			m.Vouch = value
		case HeaderEncoding:
			packed = value == encodingZstd
			switch {
			case !packed:
				faults.Addf("header "+name, "%q is not known here, %s is: perhaps the sender is newer than this program", value, encodingZstd)
				m.extend(name, values) // the signature covers it
			case mostUnpacked(s) == 0:
				faults.Addf("header "+name, "a message of this kind does not travel packed")
			}
		default:
			if strings.HasPrefix(name, headerPrefix) {
				m.extend(name, values)
			}
		}
	}
	if packed {
		if m.Body, m.packed = nil, body; body == nil {
			m.packed = []byte{}
		}
	}
	return m, faults
}

// extend adds a header that has no field.
func (m *Message) extend(name string, values []string) {
	if m.extra == nil {
		m.extra = make(map[string][]string)
	}
	m.extra[name] = values
}
