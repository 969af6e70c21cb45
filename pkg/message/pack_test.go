package message_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// lengthy is a body that is worth packing.
func lengthy(n int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"hosts":[`)
	for i := range n {
		fmt.Fprintf(&b, `{"name":"shop%d.example.org","listen":443},`, i)
	}
	return append(bytes.TrimRight(b.Bytes(), ","), `]}`...)
}

// travelled is a message as its receiver has it.
func travelled(t testing.TB, m message.Message) message.Message {
	t.Helper()
	got, faults := message.DecodeAs(m.Subject, m.Headers(), m.Wire())
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	return got
}

// frame packs a body as Sign does not.
func frame(t testing.TB, body []byte, o ...zstd.EOption) []byte {
	t.Helper()
	e, err := zstd.NewWriter(nil, o...)
	if err != nil {
		t.Fatal(err)
	}
	return e.EncodeAll(body, nil)
}

// sends is a message that bears an encoding and whatever body, signed as that.
// It is what a sender makes that packs by itself.
func sends(t testing.TB, m message.Message, encoding string, body []byte, by message.Signer) message.Message {
	t.Helper()
	m.Key = by.PublicKey()
	headers := m.Headers()
	headers[message.HeaderEncoding] = []string{encoding}
	got, _ := message.DecodeAs(m.Subject, headers, body)
	data, err := message.SignedBytes(got)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := by.Sign(data)
	if err != nil {
		t.Fatal(err)
	}
	got.Signature = base64.RawURLEncoding.EncodeToString(signature)
	return got
}

func TestALongBodyTravelsPackedAndComesOutAsItWas(t *testing.T) {
	alice := newSigner(t)
	for _, s := range []subjects.Subject{sample().Subject, {Node: "ship1", Direction: subjects.Event, Method: "healthreport", Domain: "nginx"},
		message.DesiredSubject("ship1", "nginxconfig", "nginx"), message.ReportedSubject("ship1", "nginxconfig", "nginx"),
		message.ResourceSubject("VirtualHost", "shop"), subjects.RolloutSubject(sampleID, "plan")} {
		m := sample()
		m.Subject, m.Body = s, lengthy(100)
		m = signed(t, m, alice)
		if len(m.Wire())*2 > len(m.Body) || m.Headers()[message.HeaderEncoding][0] != "zstd" {
			t.Errorf("%s: %d bytes travel as %d: %v", s, len(m.Body), len(m.Wire()), m.Headers())
		}
		got := travelled(t, m)
		if got.Body != nil || got.CheckSignature() != nil || got.Body != nil {
			t.Errorf("%s: it was unpacked although nobody believes it: %v", s, got.CheckSignature())
		}
		if err := got.Unpack(); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%s: %v\nsent %+v\n got %+v", s, err, m, got)
		}
	}
}

func TestWhatIsShortOrSavesNothingTravelsAsItIs(t *testing.T) {
	alice := newSigner(t)
	noise := make([]byte, 4000)
	_, _ = rand.Read(noise) // never fails
	for name, body := range map[string][]byte{"nothing": nil, "short": lengthy(20)[:511], "noise": noise,
		"larger than it may be unpacked": bytes.Repeat([]byte("x"), message.MaxBody+1)} {
		m := sample()
		m.Body = body
		m = signed(t, m, alice)
		if _, packed := m.Headers()[message.HeaderEncoding]; packed || !bytes.Equal(m.Wire(), body) {
			t.Errorf("%s: %d bytes travel as %d", name, len(body), len(m.Wire()))
		}
	}
	m := sample()
	m.Subject, m.Body = message.TrustSubject(), lengthy(100)
	if m = signed(t, m, alice); len(m.Headers()[message.HeaderEncoding]) > 0 {
		t.Error("a trust set is packed, and people cannot read it")
	}
}

func TestVerifyingUnpacksWhatIsBelievedAndNothingElse(t *testing.T) {
	alice, mallory, ship1 := newSigner(t), newSigner(t), newSigner(t)
	trust := trusting(alice.public, subjects.Station)
	command := sample()
	command.Body = lengthy(100)
	event := message.NewAnswer(sample(), "ship1", message.Succeeded, message.Answer{Message: strings.Repeat("as nginx says. ", 100)})
	desired := message.Message{Subject: message.DesiredSubject("ship1", "nginxconfig", "nginx"), From: "alice", Body: lengthy(100)}
	for name, test := range map[string]struct {
		m      message.Message
		by     message.Signer
		verify func(*message.Message) error
	}{
		"command": {command, alice, func(m *message.Message) error { _, err := message.VerifyCommand(m, "ship1", trust, stored); return err }},
		"event":   {event, ship1, func(m *message.Message) error { return message.VerifyEvent(m, stored, ship1.public, trust) }},
		"document": {desired, alice, func(m *message.Message) error {
			return message.VerifyDocument(m, trust, subjects.Station)
		}},
	} {
		good := travelled(t, signed(t, test.m, test.by))
		if err := test.verify(&good); err != nil || !bytes.Equal(good.Body, test.m.Body) {
			t.Errorf("%s: %v, %q", name, err, good.Body)
		}
		stranger := travelled(t, signed(t, test.m, mallory))
		if err := test.verify(&stranger); fleet.KindOf(err) != fleet.Refused || stranger.Body != nil {
			t.Errorf("%s of a stranger: %v, unpacked to %d bytes", name, err, len(stranger.Body))
		}
	}
	answer, err := travelled(t, signed(t, event, ship1)).ReadAnswer()
	if err != nil || !strings.HasPrefix(answer.Message, "as nginx says.") {
		t.Errorf("%+v, %v", answer, err)
	}
}

// A sender that is believed can be wrong all the same, or broken into.
func TestWhatCannotBeUnpackedIsRefusedWithItsReason(t *testing.T) {
	alice := newSigner(t)
	body := lengthy(100)
	good := frame(t, body)
	stream := new(bytes.Buffer)
	w, err := zstd.NewWriter(stream)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write(body)
	if err := errors.Join(w.Flush(), w.Close()); err != nil { // it does not know its size in advance
		t.Fatal(err)
	}
	lies := bytes.Clone(good)
	lies[6]++ // the size that it says, by 256
	for name, test := range map[string]struct {
		encoding string
		body     []byte
		reason   string
	}{
		"a bomb":                 {"zstd", frame(t, make([]byte, message.MaxBody+1)), "it has 524289 bytes when unpacked: at most 524288"},
		"a stream":               {"zstd", stream.Bytes(), "does not say how large it is"},
		"a bomb behind a frame":  {"zstd", append(bytes.Clone(good), frame(t, make([]byte, 16<<20))...), "it cannot be unpacked"},
		"two frames":             {"zstd", append(bytes.Clone(good), good...), "and has"},
		"what is skipped":        {"zstd", append([]byte{0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 0}, good...), "does not say how large it is"},
		"something behind it":    {"zstd", append(bytes.Clone(good), "more"...), "it cannot be unpacked"},
		"half of it":             {"zstd", good[:len(good)/2], "it cannot be unpacked"},
		"another size":           {"zstd", lies, "it cannot be unpacked"},
		"plain text":             {"zstd", body, "it is not packed with zstd"},
		"nothing":                {"zstd", nil, "it is not packed with zstd"},
		"a dictionary":           {"zstd", frame(t, body, zstd.WithEncoderDictRaw(7, body[:2000])), "does not say how large it is"},
		"another encoding":       {"br", body, `header Fairlead-Encoding: "br" is not known here, zstd is: perhaps the sender is newer than this program`},
		"the same, spelled else": {"ZSTD", good, `"ZSTD" is not known here`},
		"empty":                  {"", body, `"" is not known here`},
	} {
		t.Run(name, func(t *testing.T) {
			m := sends(t, sample(), test.encoding, test.body, alice)
			headers := m.Headers()
			d := message.Receive(message.Stored{Subject: m.StoredSubject(), Sequence: 7, At: stored, Headers: headers, Body: test.body})
			err := d.Fault
			if err == nil {
				_, err = message.VerifyCommand(&d.Message, "ship1", trusting(alice.public, subjects.Operator), stored)
			}
			refused(t, err, fleet.Invalid, test.reason)
			if err := d.Message.CheckSignature(); err != nil {
				t.Errorf("its sender signed it: %v", err)
			}
			if test.encoding == "zstd" {
				refused(t, err, fleet.Invalid, "body of ship1.command.reload.nginx "+sampleID)
			}
		})
	}
}

func TestAnEncodingThatIsGivenTwiceOrHasNoPlaceIsAFault(t *testing.T) {
	m := sample()
	m.Body = lengthy(100)
	m = signed(t, m, newSigner(t))
	headers := m.Headers()
	headers[message.HeaderEncoding] = []string{"zstd", "zstd"}
	_, err := message.Decode(m.Subject.String(), headers, m.Wire())
	refused(t, err, fleet.Invalid, "header Fairlead-Encoding: given 2 times")
	_, faults := message.DecodeAs(message.TrustSubject(), m.Headers(), m.Wire())
	refused(t, faults.Err(), fleet.Invalid, "header Fairlead-Encoding: a message of this kind does not travel packed")
}

// Neither can the packed bytes be passed on as what somebody wrote, nor the other
// way round.
func TestTheEncodingIsSigned(t *testing.T) {
	alice := newSigner(t)
	m := sample()
	m.Body = lengthy(100)
	m = signed(t, m, alice)
	without := m.Headers()
	delete(without, message.HeaderEncoding)
	got, err := message.Decode(m.Subject.String(), without, m.Wire())
	if err != nil {
		t.Fatal(err)
	}
	refused(t, got.CheckSignature(), fleet.Refused, "the signature does not fit")

	plain := sample()
	plain.Body = frame(t, lengthy(100)) // signed as text
	plain = signed(t, plain, alice)
	with := plain.Headers()
	with[message.HeaderEncoding] = []string{"zstd"}
	got, err = message.Decode(plain.Subject.String(), with, plain.Wire())
	if err != nil {
		t.Fatal(err)
	}
	refused(t, got.CheckSignature(), fleet.Refused, "the signature does not fit")

	repacked, err := message.Decode(m.Subject.String(), m.Headers(), frame(t, m.Body, zstd.WithEncoderLevel(zstd.SpeedBestCompression)))
	if err != nil {
		t.Fatal(err)
	}
	refused(t, repacked.CheckSignature(), fleet.Refused, "the signature does not fit")
}

func TestWhatArrivedPackedIsSignedAnewWithItsText(t *testing.T) {
	alice, bob := newSigner(t), newSigner(t)
	m := sample()
	m.Body = lengthy(100)
	got := travelled(t, signed(t, m, alice))
	got.From = "bob"
	got = travelled(t, signed(t, got, bob))
	if err := got.CheckSignature(); err != nil {
		t.Error(err)
	}
	if err := got.Unpack(); err != nil || !bytes.Equal(got.Body, m.Body) {
		t.Errorf("%v: %q", err, got.Body)
	}
	got.Body = []byte(`{}`)
	if got = travelled(t, signed(t, got, bob)); string(got.Body) != `{}` || got.CheckSignature() != nil {
		t.Errorf("with another body: %q", got.Body)
	}
}

// What comes out of any bytes that call themselves packed is within its bound, and
// the same each time.
func FuzzUnpack(f *testing.F) {
	f.Add(frame(f, lengthy(100)), true)
	f.Add(frame(f, make([]byte, 2<<20)), false)
	f.Add(append(frame(f, lengthy(1)), frame(f, make([]byte, 4<<20))...), true)
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, true)
	f.Add([]byte{}, true)
	f.Fuzz(func(t *testing.T, body []byte, command bool) {
		s, most := sample().Subject, message.MaxBody
		if !command {
			s, most = message.ReportedSubject("ship1", "nginxconfig", "nginx"), 1<<20
		}
		m, faults := message.DecodeAs(s, map[string][]string{message.HeaderEncoding: {"zstd"}}, body)
		if err := faults.Err(); err != nil || m.Body != nil {
			t.Fatalf("%v, %q", err, m.Body)
		}
		again := m
		err := m.Unpack()
		switch {
		case err == nil && (m.Body == nil || len(m.Body) > most):
			t.Errorf("unpacked to %d bytes", len(m.Body))
		case err != nil && (m.Body != nil || fleet.KindOf(err) != fleet.Invalid):
			t.Errorf("%s: %v, and %d bytes", fleet.KindOf(err), err, len(m.Body))
		}
		if again.Unpack() == nil != (err == nil) || !bytes.Equal(again.Body, m.Body) {
			t.Error("unpacked again it is another")
		}
		if !bytes.Equal(m.Wire(), body) {
			t.Error("it would travel on as another")
		}
	})
}

func TestABodyThatIsKeptIsAsItWasPackedOrNot(t *testing.T) {
	for _, body := range [][]byte{{}, []byte("short"), lengthy(100)} {
		m := sample()
		m.Body = bytes.Clone(body)
		m = signed(t, m, newSigner(t))
		kept := m.Keep()
		clear(m.Wire()) // it is a piece of what came, and that goes
		if got := kept.Body(); !bytes.Equal(got, body) {
			t.Errorf("a body of %d bytes is kept as one of %d: %.40q", len(body), len(got), got)
		}
	}
	if got := (message.Kept{}).Body(); got != nil {
		t.Errorf("nothing was kept as %q", got)
	}
}
