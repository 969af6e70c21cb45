package agent_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"fairlead/pkg/client"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// apart is a fleet whose broker and station are processes of their own.
func apart(t *testing.T) (s *system, part map[string]child, running map[string]*process) {
	s = ownSystem(t)
	port := freePort(t)
	s.url = fmt.Sprintf("nats://127.0.0.1:%d", port)
	part = map[string]child{
		"broker":  {Part: "broker", Dir: s.dir, Port: port},
		"station": {Part: "station", Dir: s.dir, URL: s.url},
	}
	running = map[string]*process{"broker": spawn(t, part["broker"]), "station": spawn(t, part["station"])}
	s.connect(t, t.Cleanup)
	return s, part, running
}

// Whether a command was stored when the broker died is not always known to who
// sent it: what counts is what the broker holds afterwards.
func TestAKillOfBrokerOrStationLosesAndDoublesNothing(t *testing.T) {
	for _, victims := range [][]string{{"broker"}, {"station"}, {"broker", "station"}} {
		t.Run(fmt.Sprint(victims), func(t *testing.T) {
			t.Parallel()
			s, part, running := apart(t)
			fleet := []*node{s.newNode(t), s.newNode(t)}
			for _, n := range fleet {
				n.start(t, nil)
			}
			stored := 0
			for i := range 150 {
				if i == 50 {
					for _, v := range victims {
						running[v].kill()
					}
				}
				if i == 70 {
					for _, v := range victims {
						running[v] = spawn(t, part[v])
					}
				}
				n := fleet[i%2]
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				_, err := n.client.Send(ctx, n.command([]string{work, durable, once}[i%3], string(rune('x'+i/2%2)), ""))
				cancel()
				if err == nil {
					stored++
				} else if i < 50 {
					t.Fatal(err)
				} else if i >= 70 {
					// The client comes back by itself.
					eventually(t, "the client is connected", n.client.Conn().Connected)
				}
			}
			for _, n := range fleet {
				for id, end := range n.wellAfter(t) {
					if end.State != message.Succeeded || n.count(t, id) != 1 || !n.made(t, id) {
						t.Errorf("%s ended %s and ran %d times: %s", id, end.State, n.count(t, id), end.Message)
					}
				}
				sent := make(map[string][]string) // ids by subject, as they were stored
				subject := make(map[string]string)
				for _, r := range n.audit(t) {
					if m := r.Message; m.Subject.Direction == subjects.Command {
						sent[m.Subject.String()] = append(sent[m.Subject.String()], m.ID)
						subject[m.ID] = m.Subject.String()
					}
				}
				ran := make(map[string][]string)
				for _, id := range n.runs(t) {
					ran[subject[id]] = append(ran[subject[id]], id)
				}
				for name, ids := range sent {
					stored -= len(ids)
					if !slices.Equal(ids, ran[name]) {
						t.Errorf("%s: %d commands ran in another order than they were stored in", name, len(ids))
					}
				}
				stored++ // the one that wellAfter sent
			}
			if stored > 0 {
				t.Errorf("%d commands that were acknowledged are not in the audit", stored)
			}
			// Nor is what a station signed before the kill another one since.
			var signed client.AuditVerdict
			eventually(t, "all of the audit is signed", func() (all bool) {
				var err error
				signed, err = s.client.VerifyAudit(t.Context(), client.VerifyOptions{})
				return err == nil && signed.Uncovered == 0
			})
			if len(signed.Faults) > 0 || signed.Covered != signed.Last {
				t.Errorf("%+v", signed)
			}
			if left, _ := filepath.Glob(filepath.Join(s.dir, "*", "journal.db.corrupt-*")); len(left) > 0 {
				t.Errorf("damaged journals: %q", left)
			}
		})
	}
}
