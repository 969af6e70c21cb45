package message_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
)

func TestAQuestionAsksThoseThatItMeansAndNamesNobody(t *testing.T) {
	var many []string
	for i := range message.MaxAsked {
		many = append(many, fmt.Sprintf("%s%02d", strings.Repeat("n", 61), i))
	}
	for _, asked := range [][]string{nil, {"ship1"}, {"ship2", "ship1"}, many, append(many, "ship1")} {
		q := message.NewQuestion(asked)
		read, ok := message.ReadQuestion(q.Text())
		if !ok || read.ID != q.ID {
			t.Fatalf("%q is read as %+v", q.Text(), read)
		}
		all := len(asked) == 0 || len(asked) > message.MaxAsked
		for _, node := range []string{"ship1", "ship3", many[7]} {
			if want := all || slices.Contains(asked, node); read.Asks(node) != want {
				t.Errorf("of %d nodes %s is asked: %v", len(asked), node, read.Asks(node))
			}
			if bytes.Contains(q.Text(), []byte(node)) {
				t.Errorf("%s is named to all", node)
			}
		}
	}
}

func TestWhatIsNoQuestionIsNone(t *testing.T) {
	for _, text := range []string{"", " ", "ship1", sampleID + "\n", "!" + sampleID[1:], sampleID + " " + strings.Repeat("x", 1000)} {
		if q, ok := message.ReadQuestion([]byte(text)); ok {
			t.Errorf("%q is a question: %+v", text, q)
		}
	}
}

func TestAnAnswerNamesItsQuestionUnderTheSignature(t *testing.T) {
	ship := newSigner(t)
	want := beat()
	want.Asked = message.NewQuestion(nil).ID
	data, err := message.SignHeartbeat("ship1", want, ship)
	if err != nil {
		t.Fatal(err)
	}
	got, err := message.ReadHeartbeat(data)
	if err != nil || got != want {
		t.Errorf("%q is read as %+v: %v", data, got, err)
	}
	if err := message.VerifyHeartbeat("ship1", data, ship.PublicKey()); err != nil {
		t.Error(err)
	}
	other := bytes.Replace(data, []byte(want.Asked), []byte(message.NewQuestion(nil).ID), 1)
	if err := message.VerifyHeartbeat("ship1", other, ship.PublicKey()); fleet.KindOf(err) != fleet.Refused {
		t.Errorf("it answers another question: %v", err)
	}
	want.Asked = "two words"
	if _, err := message.SignHeartbeat("ship1", want, ship); fleet.KindOf(err) != fleet.Invalid {
		t.Errorf("an answer to %q: %v", want.Asked, err)
	}
}
