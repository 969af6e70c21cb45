package message_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

func TestADerivedIDFollowsFromMomentAndSeed(t *testing.T) {
	seed := []byte("0123456789")
	id := message.DerivedID(stored, seed)
	if id != message.DerivedID(stored.In(time.FixedZone("", 3600)), append(seed, "more"...)) {
		t.Error("the same moment and seed give another id")
	}
	for _, other := range []string{message.DerivedID(stored.Add(time.Millisecond), seed), message.DerivedID(stored, []byte("012345678x"))} {
		if other == id {
			t.Error("another moment or seed gives the same id")
		}
	}
	at, ok := message.CreatedAt(id)
	if !ok || !at.Equal(stored) {
		t.Errorf("made at %s, %v", at, ok)
	}
	const want = "01KJVKTCGR60RK4CSM6MV3EE1S"
	if id != want {
		t.Errorf("the id is %s, was %s: stations of two versions would disagree", id, want)
	}
}

func TestANewIDIsASubjectTokenAndSortsByTime(t *testing.T) {
	before := time.Now().Truncate(time.Millisecond)
	seen := map[string]bool{}
	for range 1000 {
		id := message.NewID()
		if seen[id] || !subjects.ValidID(id) {
			t.Fatalf("%s came twice or is no token", id)
		}
		seen[id] = true
		if at, ok := message.CreatedAt(id); !ok || at.Before(before) {
			t.Fatalf("%s was made at %s", id, at)
		}
	}
	if _, ok := message.CreatedAt("seq-7"); ok {
		t.Error("seq-7 is a ULID")
	}
}

// A command can end once: whoever says how, says it under the same id.
func TestAllEndsOfACommandShareOneID(t *testing.T) {
	want := map[message.State]string{
		message.Accepted: "C-nginx-accepted", message.Running: "C-nginx-running", message.Late: "C-nginx-late",
		message.Succeeded: "C-nginx-end", message.FailedEnd: "C-nginx-end", message.Rejected: "C-nginx-end",
		message.Superseded: "C-nginx-end", message.Expired: "C-nginx-end", message.Cancelled: "C-nginx-end",
	}
	for s, id := range want {
		if got := message.AnswerID("C", "nginx", s); got != id {
			t.Errorf("the answer %s is %s, want %s", s, got, id)
		}
		if s.Final() != (id == "C-nginx-end") {
			t.Errorf("%s is final: %v", s, s.Final())
		}
	}
	if !subjects.ValidID(message.AnswerID(message.NewID(), strings.Repeat("d", 63), message.Superseded)) {
		t.Error("an answer's id is no token")
	}
}

func TestAnAnswerSaysWhatItAnswers(t *testing.T) {
	at := stored
	a := message.Answer{Message: "done", Kind: fleet.Failed, By: "x", Changed: true, Took: 1.5,
		Result: json.RawMessage(`{"a":1}`), Ended: message.Expired, AcceptedAt: &at}
	m := message.NewAnswer(sample(), "ship1", message.FailedEnd, a)
	if m.Subject.String() != "ship1.event.ack.reload" || m.ID != sampleID+"-nginx-end" || m.Command != sampleID ||
		m.From != "ship1" || m.State != message.FailedEnd || m.Trace != sample().Trace {
		t.Errorf("the answer is %+v", m)
	}
	if want := "fleet.ship1.event.ack.reload." + sampleID + "-nginx-end"; m.StoredSubject() != want {
		t.Errorf("stored at %s, want %s", m.StoredSubject(), want)
	}
	got, err := m.ReadAnswer()
	if err != nil || got.Message != "done" || got.Kind != fleet.Failed || string(got.Result) != `{"a":1}` || !got.AcceptedAt.Equal(at) {
		t.Errorf("read %+v, %v", got, err)
	}
}

func TestAResultThatIsNotJSONIsToldAsSuch(t *testing.T) {
	m := message.NewAnswer(sample(), "ship1", message.Succeeded, message.Answer{Result: json.RawMessage("{")})
	a, err := m.ReadAnswer()
	if err != nil || a.Kind != fleet.Internal || !contains(a.Message, "the result is not JSON") {
		t.Errorf("read %+v, %v", a, err)
	}
	m.Body = []byte("{")
	_, err = m.ReadAnswer()
	refused(t, err, fleet.Invalid, "answer "+sampleID+"-nginx-end")
}
