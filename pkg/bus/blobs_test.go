package bus_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// putBlob stores a content under a name, which may be another's.
func putBlob(t *testing.T, c *bus.Conn, digest, content string, keep time.Duration) error {
	t.Helper()
	p, err := c.PutBlob(digest, []byte(content), keep)
	if err != nil {
		t.Fatal(err)
	}
	return p.Wait(t.Context())
}

func TestAContentIsReadByItsDigestAndProven(t *testing.T) {
	s := open(t)
	admin, ship := s.admin(), s.node("ship1")
	digest, absent := message.Digest([]byte("content")), message.Digest([]byte("absent"))
	if err := putBlob(t, admin, digest, "content", time.Hour); err != nil {
		t.Fatal(err)
	}
	if got, err := ship.Blob(t.Context(), digest); err != nil || string(got) != "content" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := ship.Blob(t.Context(), absent); fleet.KindOf(err) != fleet.Unknown {
		t.Errorf("what is not there: %v", err)
	}
	if err := putBlob(t, admin, digest, "forged", time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := ship.Blob(t.Context(), digest); fleet.KindOf(err) != fleet.Failed || !strings.Contains(err.Error(), "something else") {
		t.Errorf("what was forged: %v", err)
	}
}

func TestContentsAreKeptForAsLongAsWasSaid(t *testing.T) {
	s := open(t)
	admin := s.admin()
	var digests []string
	for i := range 300 { // more than one question names
		content := strings.Repeat("x", i)
		digests = append(digests, message.Digest([]byte(content)))
		if i == 299 {
			continue
		}
		if err := putBlob(t, admin, digests[i], content, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	brief := message.Digest([]byte("brief"))
	if err := putBlob(t, admin, brief, "brief", time.Second); err != nil {
		t.Fatal(err)
	}
	until, err := admin.BlobsUntil(t.Context(), digests)
	if err != nil || len(until) != 299 {
		t.Fatalf("%d are there, %v", len(until), err)
	}
	state, err := admin.State(t.Context(), subjects.BucketStream(subjects.Blobs))
	if err != nil {
		t.Fatal(err)
	}
	for digest, at := range until {
		if left := at.Sub(state.Now); left <= 0 || left > time.Hour {
			t.Errorf("%s is kept for %s", digest, left)
		}
	}
	for range 100 {
		if until, err = admin.BlobsUntil(t.Context(), []string{brief}); err != nil {
			t.Fatal(err)
		}
		if len(until) == 0 {
			return
		}
		<-time.After(patience / 100)
	}
	t.Error("what was to be kept for a second is there yet")
}

func TestOnlyAdministratorsStoreContents(t *testing.T) {
	s := open(t)
	for name, role := range map[string]subjects.Role{"olga": subjects.Operator, "vera": subjects.Viewer} {
		c := s.connect(bus.Options{Credentials: s.credentials(name, role)})
		if err := putBlob(t, c, message.Digest(nil), "", time.Hour); fleet.KindOf(err) != fleet.Refused {
			t.Errorf("%s: %v", role, err)
		}
	}
}

// What security.md says of a node's credentials: with a wildcard in the place of a
// digest they read what was stored last.
func TestANodeReadsTheNewestContentWithoutItsDigest(t *testing.T) {
	s := open(t)
	if err := putBlob(t, s.admin(), message.Digest([]byte("newest")), "newest", time.Hour); err != nil {
		t.Fatal(err)
	}
	nc := s.foreign("ship1", subjects.Node)
	reply, err := nc.RequestMsg(&nats.Msg{Subject: "$JS.API.DIRECT.GET.KV_blobs.$KV.blobs.*"}, patience)
	if err != nil || string(reply.Data) != "newest" {
		t.Errorf("%v, %v: say less in docs/security.md", reply, err)
	}
}
