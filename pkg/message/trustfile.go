package message

import (
	"bytes"
	"encoding/json"

	"fairlead/pkg/fleet"
)

// trustFile is a signed trust set in a file: people can read it, and a program
// may indent it anew without harm.
type trustFile struct {
	Headers map[string][]string `json:"headers"`
	Set     json.RawMessage     `json:"set"`
}

// EncodeTrust is a signed trust set as a file holds it.
func EncodeTrust(m Message) ([]byte, error) {
	data, err := json.MarshalIndent(trustFile{m.Headers(), m.Body}, "", "  ")
	if err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "the trust set is not JSON: %w", err)
	}
	return append(data, '\n'), nil
}

// DecodeTrust is the inverse of EncodeTrust; the signature is checked. The
// error is Invalid or Refused.
func DecodeTrust(data []byte) (Message, error) {
	var f trustFile
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return Message{}, fleet.Errorf(fleet.Invalid, "it is not a signed trust set: %w", err)
	}
	var body bytes.Buffer
	if err := json.Compact(&body, f.Set); err != nil {
		return Message{}, fleet.Errorf(fleet.Invalid, "it is not a signed trust set: %w", err)
	}
	m, faults := DecodeAs(TrustSubject(), f.Headers, body.Bytes())
	if err := faults.Err(); err != nil {
		return Message{}, err
	}
	_, err := OpenTrust(m)
	return m, err
}
