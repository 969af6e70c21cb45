package message

import (
	"encoding/base64"
	"encoding/json"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

// HeaderVouch holds what a station says of a document of somebody else's that it
// writes again: since when it stood. The document's own signature does not cover
// it, and it bears the station's.
const HeaderVouch = "Vouch"

// vouchSubject is what the station's signature covers, beside the body.
var vouchSubject = subjects.Subject{Node: "fleet", Direction: "vouch", Method: "document", Domain: "document"}

// vouch is the body of what the station signs.
type vouch struct {
	Signature string    `json:"signature"` // of the document
	At        time.Time `json:"at"`        // when it was stored first, by the broker's clock
}

// VouchFor adds to a signed document that it stood since a moment, signed by the
// station that says so.
func (m Message) VouchFor(at time.Time, from string, s Signer) (Message, error) {
	v, err := SignBody(vouchSubject, from, "", vouch{m.Signature, at}, s)
	if err != nil {
		return m, err
	}
	text, err := json.Marshal(Enclose(v))
	m.Vouch = base64.RawURLEncoding.EncodeToString(text)
	return m, err
}

// Since is when a document that was stored at a moment stood first: then, or by
// the word of a station that is believed earlier. The document's own signature is
// not checked.
func (m Message) Since(at time.Time, trust Trust) time.Time {
	since, err := m.vouched(at, trust)
	if err != nil || !since.Before(at) {
		return at
	}
	return since
}

func (m Message) vouched(at time.Time, trust Trust) (since time.Time, err error) {
	if m.Vouch == "" {
		return at, nil
	}
	text, err := base64.RawURLEncoding.DecodeString(m.Vouch)
	if err != nil {
		return since, err
	}
	var e Enclosed
	if err := json.Unmarshal(text, &e); err != nil {
		return since, err
	}
	station, err := e.Message(vouchSubject)
	if err != nil {
		return since, err
	}
	if _, err := VerifyStored(&station, at, trust, subjects.Station); err != nil {
		return since, err
	}
	var v vouch
	if err := json.Unmarshal(station.Body, &v); err != nil {
		return since, err
	}
	if v.Signature != m.Signature {
		return since, fleet.Errorf(fleet.Refused, "what the station says is about another document")
	}
	return v.At, nil
}
