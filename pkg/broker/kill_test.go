package broker_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fairlead/pkg/identity"
	"fairlead/subjects"
)

func TestABrokerThatCannotStoreEnds(t *testing.T) {
	dir := t.TempDir()
	a := authority(t, filepath.Join(dir, "identity"), identity.Options{})
	var said bytes.Buffer
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, childLimit+"=1048576")
	cmd.Stderr = &said
	url := begin(t, cmd)
	ensureStorage(t, url, a)

	nc, err := nats.Connect(url, secure(a), nats.UserCredentials(user(t, a, "alice", subjects.Admin).CredsFile), nats.NoReconnect())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for range 3 { // the second does not fit
		if err := nc.Publish("ship1.command.reload.nginx", make([]byte, 900<<10)); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the broker ended without an error")
	}
	if !strings.Contains(said.String(), "the broker can no longer store: ") {
		t.Errorf("the broker said %s", &said)
	}
}

func TestAKilledBrokerKeepsWhatItAcknowledged(t *testing.T) {
	dir := t.TempDir()
	a := authority(t, filepath.Join(dir, "identity"), identity.Options{})
	url, kill := spawn(t, dir)
	ensureStorage(t, url, a)

	acknowledged := publishUntilGone(t, url, a, user(t, a, "alice", subjects.Admin), 300, kill)
	if len(acknowledged) < 300 {
		t.Fatalf("only %d were acknowledged", len(acknowledged))
	}

	url, _ = spawn(t, dir) // the dead broker's lock is free
	nc, err := nats.Connect(url, secure(a), nats.UserCredentials(user(t, a, "alice", subjects.Admin).CredsFile), nats.CustomInboxPrefix(subjects.Inbox("alice")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	commands := stream(t, nc, subjects.Commands)
	for sequence, subject := range acknowledged {
		if raw, err := commands.GetMsg(t.Context(), sequence); err != nil || raw.Subject != subject {
			t.Errorf("acknowledged %s as %d, found %v, %v", subject, sequence, raw, err)
		}
	}
}

// publishUntilGone publishes without waiting, calls kill after the given
// number of acknowledgements while more are on their way, and returns all
// acknowledged subjects by sequence.
func publishUntilGone(t *testing.T, url string, a *identity.Authority, u identity.User, enough int, kill func()) map[uint64]string {
	t.Helper()
	closed := make(chan struct{}) // by itself nats.go leaves futures of a closed connection open
	nc, err := nats.Connect(url, secure(a), nats.UserCredentials(u.CredsFile), nats.CustomInboxPrefix(subjects.InboxOf(u.Role, u.Name)),
		nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	// The test's own limit: nats.go's would stall for a minute at the end, since
	// what was under way never ends.
	const many = 64
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(2*many))
	if err != nil {
		t.Fatal(err)
	}
	futures, under := make(chan jetstream.PubAckFuture, many), make(chan struct{}, many)
	go func() {
		defer close(futures)
		command := subjects.Subject{Node: "ship1", Direction: subjects.Command, Method: "reload", Domain: "nginx"}
		for i := 0; ; i++ {
			select {
			case under <- struct{}{}:
			case <-closed:
				return
			}
			f, err := js.PublishAsync(subjects.Stored(command, fmt.Sprint(i)), []byte("{}"))
			if err != nil {
				return // the connection is gone
			}
			futures <- f // there is room for all that are under way
		}
	}()
	acknowledged := make(map[uint64]string)
	for f := range futures {
		select {
		case ack := <-f.Ok():
			acknowledged[ack.Sequence] = f.Msg().Subject
		case <-f.Err():
		case <-closed:
		}
		<-under
		if len(acknowledged) == enough {
			kill()
		}
	}
	return acknowledged
}
