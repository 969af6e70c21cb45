package dev_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// The broker itself was taken over, with its certificate and all that it stores.
// What it says to node1, and to a client, is as it likes.
func TestAttackByTheBroker(t *testing.T) {
	r := newRealm(t)
	m := newMiddle(r)
	r.agents[0].stop(t)
	r.through = m.url()
	r.agents[0] = r.bare(0)
	evil := newSigner(t)
	mailbox := "node1.command.shellcommand.operatingsystem"
	// commands changes what node1 hears of commands.
	commands := func(change func(f frame) []frame) {
		m.plays(func(f frame) []frame {
			if f.subject != mailbox {
				return []frame{f}
			}
			return change(f)
		})
	}
	honest := func() {
		m.plays(nil)
		r.runs(node1)
	}
	honest() // so that the sync is over with which the agent began: a station answers that, with commands as they were signed
	// alters sends a good command, of which node1 hears another version.
	alters := func(what, says string, change func(f *frame)) attempt {
		cmd, file := r.touching(node1)
		cmd = r.sign(cmd, theAdmin)
		return attempt{what: what, by: byAgent, says: says, effect: untouched(file), control: honest, try: func() (refuser, string) {
			commands(func(f frame) []frame {
				change(&f)
				return []frame{f}
			})
			r.store(theAdmin, encoded(cmd))
			return r.rejected(cmd.ID, cmd.Subject)
		}}
	}
	// shows has node1 hear a command that was never stored for it.
	shows := func(what, says string, made func() message.Message) attempt {
		cmd := made()
		return attempt{what: what, by: byAgent, says: says, control: honest, try: func() (refuser, string) {
			var once atomic.Bool
			commands(func(f frame) []frame {
				if once.Swap(true) {
					return []frame{f}
				}
				return []frame{f, {subject: f.subject, sid: f.sid, header: shownHeader(cmd, node1, 1<<40), body: cmd.Body}}
			})
			r.runs(node1)
			return r.rejected(cmd.ID, cmd.Subject)
		}}
	}
	all := []attempt{
		alters("another body", "signature does not fit", func(f *frame) { f.body = bytes.Replace(f.body, []byte("touched-"), []byte("tampered"), 1) }),
		alters("another expiry", "signature does not fit", func(f *frame) {
			f.header = bytes.Replace(f.header, []byte(message.HeaderExpires+": 2"), []byte(message.HeaderExpires+": 3"), 1)
		}),
		alters("another sender", "signature does not fit", func(f *frame) {
			f.header = bytes.Replace(f.header, []byte(message.HeaderFrom+": admin"), []byte(message.HeaderFrom+": chief"), 1)
		}),
		alters("no signature", "is not signed", func(f *frame) {
			f.header = bytes.Replace(f.header, []byte(message.HeaderSignature), []byte("Fairlead-Signaturx"), 1)
		}),
		shows("a command of its own", "is not one that node1 trusts", func() message.Message {
			cmd, _ := r.touching(node1)
			return r.signAs(cmd, theAdmin, evil)
		}),
		shows("a command of another node", "signature does not fit", func() message.Message {
			cmd, _ := r.touching(node2)
			cmd = r.sign(cmd, theAdmin)
			cmd.Subject.Node = node1
			return cmd
		}),
	}
	again, _ := r.touching(node1)
	again = r.sign(again, theAdmin)
	var swapped []message.Message
	for range 2 {
		m, _ := r.touching(node1)
		swapped = append(swapped, r.sign(m, theAdmin))
	}
	held, heldFile := r.touching(node1)
	held = r.sign(held, theAdmin)
	synced, syncedFile := r.touching(node1)
	synced = r.signAs(synced, theAdmin, evil)
	all = append(all,
		attempt{what: "a command five times", by: byAgent, says: "ran 1 times", control: honest, try: func() (refuser, string) {
			mark := r.heard.len()
			commands(func(f frame) []frame { return []frame{f, f, f, f, f} })
			r.store(theAdmin, encoded(again))
			r.end(again)
			r.runs(node1) // behind all of them
			return byAgent, fmt.Sprintf("ran %d times", len(r.heard.lines(mark, "command ended", again.ID)))
		}},
		// No order is promised against a broker that lies; each still runs once.
		attempt{what: "two commands in another order", by: byAgent, says: "each ran once", control: honest, try: func() (refuser, string) {
			mark := r.heard.len()
			var kept []frame
			commands(func(f frame) []frame {
				if len(kept) == 0 {
					kept = []frame{f}
					return nil
				}
				return append([]frame{f}, kept...)
			})
			for _, m := range swapped {
				r.store(theAdmin, encoded(m))
			}
			for _, m := range swapped {
				r.end(m)
			}
			r.runs(node1) // behind both, which were logged before it
			for _, m := range swapped {
				if n := len(r.heard.lines(mark, "command ended", m.ID)); n != 1 {
					return "", fmt.Sprintf("it ran %d times", n)
				}
			}
			return byAgent, "each ran once"
		}},
		attempt{what: "a command kept back", by: byStation, says: "succeeded", try: func() (refuser, string) {
			commands(func(frame) []frame { return nil })
			r.store(theAdmin, encoded(held))
			o := r.end(held) // a station nudges the node, which asks
			if !there(heldFile) {
				return "", "it did not run"
			}
			return byStation, string(o.State)
		}, control: honest},
		attempt{what: "a command in the answer of a station", by: byAgent, says: "is not one that node1 trusts", effect: untouched(syncedFile), try: func() (refuser, string) {
			m.plays(func(f frame) []frame {
				var page message.SyncReply
				if strings.HasPrefix(f.subject, "_INBOX_NODE.node1.") && bytes.Contains(f.body, []byte(`"messages":`)) && json.Unmarshal(f.body, &page) == nil {
					page.Messages = append(page.Messages, message.Stored{Subject: synced.StoredSubject(), Sequence: 1 << 41, At: page.Now, Headers: synced.Headers(), Body: synced.Body})
					f.body, _ = json.Marshal(page)
				}
				return []frame{f}
			})
			if said := r.publish("station", subjects.Nudge(node1), ""); said != "" {
				t.Fatal(said)
			}
			return r.rejected(synced.ID, synced.Subject)
		}, control: honest},
		attempt{what: "a trust set that it signed", by: byAgent, says: "ignored", try: func() (refuser, string) {
			set, err := message.OpenTrust(r.trust())
			if err != nil {
				t.Fatal(err)
			}
			set.Version += 100
			set.Keys = append(slices.Clone(set.Keys), message.TrustedKey{Key: evil.PublicKey(), Name: "evil", Role: subjects.Admin, Methods: []string{"*"}})
			forged, err := message.SignTrust(set, evil)
			if err != nil {
				t.Fatal(err)
			}
			mark := r.heard.len()
			m.plays(func(f frame) []frame {
				if !strings.HasPrefix(f.subject, "_INBOX_NODE.node1.") || !bytes.HasPrefix(f.header, []byte("NATS/1.0 404")) {
					return []frame{f}
				}
				lie := f // instead of saying that there is none behind the one that node1 has
				lie.header, lie.body = storedHeader(forged, subjects.BucketStream(subjects.Trust), subjects.KeySubject(subjects.Trust, subjects.TrustKey)), forged.Body
				return []frame{lie, f}
			})
			if said := r.publish("station", subjects.Nudge(node1), ""); said != "" {
				t.Fatal(said)
			}
			r.heard.says(t, mark, byAgent, "ignored the stored trust set", "node1")
			cmd, _ := r.touching(node1)
			cmd = r.signAs(cmd, "evil", evil)
			r.store(theAdmin, encoded(cmd))
			if by, said := r.rejected(cmd.ID, cmd.Subject); by != byAgent || !strings.Contains(said, "is not one that node1 trusts") {
				return by, said
			}
			return byAgent, r.heard.lines(mark, "ignored the stored trust set", "node1")[0]
		}, control: honest},
	)
	r.attempts(t, all)
	r.attempts(t, r.lies(t, m, evil))
}

// lies are what such a broker says to a client.
func (r *realm) lies(t *testing.T, m *middle, evil message.Signer) []attempt {
	open := func() (*client.Client, error) {
		ctx, cancel := patient(t)
		defer cancel()
		return client.Open(ctx, client.Options{URL: m.url(), TLS: r.TLS(), Credentials: r.creds(theAdmin), Trust: r.trust()})
	}
	// told sends a command and returns how it ended, as the client was told until
	// something happened.
	told := func(cmd message.Message, until <-chan struct{}) client.Outcome {
		t.Helper()
		c, err := open()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ctx, cancel := patient(t)
		defer cancel()
		w, err := c.Listen(ctx, cmd.Subject.Node)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		r.store(theAdmin, encoded(cmd))
		go func() {
			select {
			case <-until:
				cancel()
			case <-ctx.Done():
			}
		}()
		return w.Wait(ctx, []client.Sent{{ID: cmd.ID, Subject: cmd.Subject.String(), Node: cmd.Subject.Node}}, nil)[0]
	}
	forbidden := func(node string) message.Message {
		return r.sign(command(node, "shellcommand", []byte(`{"argv":["reboot"]}`)), theAdmin)
	}
	honest := func() {
		m.plays(nil)
		if o := told(forbidden(node2), nil); o.State != message.Rejected {
			t.Errorf("an honest broker's client is told %s", o.State)
		}
	}
	return []attempt{
		{what: "a refusal told as a success", by: byClient, says: "published", control: honest, try: func() (refuser, string) {
			lied := make(chan struct{})
			var once atomic.Int32
			m.plays(func(f frame) []frame {
				if bytes.Contains(f.header, []byte(message.HeaderState+": rejected")) {
					f.header = bytes.Replace(f.header, []byte(message.HeaderState+": rejected"), []byte(message.HeaderState+": succeeded"), 1)
					f.header = bytes.Replace(f.header, []byte("rejected"), []byte("succeeded"), -1)
					if once.Add(1) == 2 { // heard, and looked up
						close(lied)
					}
				}
				return []frame{f}
			})
			return byClient, string(told(forbidden(node2), lied).State)
		}},
		{what: "an answer of a node that is away", by: byClient, says: "published", control: honest, try: func() (refuser, string) {
			cmd := forbidden(node3)
			answer := message.NewAnswer(cmd, node3, message.Succeeded, message.Answer{Message: marker})
			answer = r.signAs(answer, node3, evil)
			key := r.holder(node3).PublicKey()
			lied := make(chan struct{})
			var once atomic.Bool
			m.plays(func(f frame) []frame {
				// The register has the broker's key for the node.
				f.body = bytes.ReplaceAll(f.body, []byte(key), []byte(evil.PublicKey()))
				if strings.HasPrefix(f.subject, "node2.event.ack.") && !once.Swap(true) {
					defer close(lied)
					f.subject, f.header, f.body = answer.Subject.String(), shownAnswer(answer, 1<<40), answer.Body
				}
				return []frame{f}
			})
			c, err := open()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			ctx, cancel := patient(t)
			defer cancel()
			w, err := c.Listen(ctx, "*")
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			r.store(theAdmin, encoded(cmd))
			r.store(theAdmin, encoded(forbidden(node2))) // whose answer is the vehicle
			<-lied
			last := forbidden(node2)
			r.store(theAdmin, encoded(last))
			sent := func(m message.Message) client.Sent {
				return client.Sent{ID: m.ID, Subject: m.Subject.String(), Node: m.Subject.Node}
			}
			if o := w.Wait(ctx, []client.Sent{sent(last)}, nil)[0]; o.State != message.Rejected { // behind the lie
				t.Errorf("what followed is told as %s", o.State)
			}
			over, stop := context.WithCancel(ctx)
			stop()
			return byClient, string(w.Wait(over, []client.Sent{sent(cmd)}, nil)[0].State)
		}},
		{what: "a command to sign in the place of a nonce", by: byClient, says: "no nonce", try: func() (refuser, string) {
			m.asks(func(line string) string {
				before, rest, found := strings.Cut(line, `"nonce":"`)
				if _, after, closed := strings.Cut(rest, `"`); found && closed {
					line = before + `"nonce":"fairlead message 1\nnode1.command.shellcommand.operatingsystem\n"` + after
				}
				return line
			})
			c, err := open()
			if err == nil {
				c.Close()
				return "", "it connects"
			}
			return byClient, err.Error()
		}, control: func() {
			m.asks(nil)
			honest()
		}},
		{what: "another broker's certificate", by: byClient, says: "certificate", try: func() (refuser, string) {
			other := r.open(t, t.TempDir())
			ctx, cancel := patient(t)
			defer cancel()
			_, err := client.Open(ctx, client.Options{URL: r.URL(), TLS: bus.TLS{CA: other.CAFile()}, Credentials: r.creds(theAdmin), Trust: r.trust()})
			if fleet.KindOf(err) != fleet.Refused {
				t.Errorf("the kind is %s", fleet.KindOf(err))
			}
			return byClient, fmt.Sprint(err)
		}, control: honest},
	}
}

// shownHeader is the header of a command as a stream would show it to a node.
func shownHeader(m message.Message, node string, sequence uint64) []byte {
	s := m.Subject
	s.Node = node
	return header(m, subjects.Commands, subjects.Stored(s, m.ID), sequence)
}

func shownAnswer(m message.Message, sequence uint64) []byte {
	return header(m, subjects.Events, m.StoredSubject(), sequence)
}

func storedHeader(m message.Message, stream, subject string) []byte {
	return header(m, stream, subject, 1<<40)
}

func header(m message.Message, stream, subject string, sequence uint64) []byte {
	var b bytes.Buffer
	b.WriteString("NATS/1.0\r\n")
	for name, values := range m.Headers() {
		for _, v := range values {
			fmt.Fprintf(&b, "%s: %s\r\n", name, v)
		}
	}
	fmt.Fprintf(&b, "Nats-Stream: %s\r\nNats-Subject: %s\r\nNats-Sequence: %d\r\nNats-Time-Stamp: %s\r\n\r\n", stream, subject, sequence, time.Now().UTC().Format(time.RFC3339Nano))
	return b.Bytes()
}
