package bus_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// What the broker does not let somebody publish ends at once, and says so,
// instead of waiting for an answer that never comes.
func TestAPublishThatTheBrokerRefusesSaysSoAtOnce(t *testing.T) {
	s := open(t)
	viewer := s.credentials("viewer", subjects.Viewer)
	c := s.connect(bus.Options{Credentials: viewer})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	command := message.Message{Subject: subjects.Subject{Node: "ship1", Direction: subjects.Command, Method: "reload", Domain: "nginx"},
		ID: message.NewID(), From: "viewer", Expires: time.Now().Add(time.Hour)}
	if err := command.Sign(viewer); err != nil {
		t.Fatal(err)
	}
	document := func(name string) bus.Change {
		return bus.Change{Key: subjects.ResourceKey("VirtualHost", name), Document: message.Message{ID: message.NewID(), Body: []byte("{}")}}
	}
	for what, try := range map[string]func() error{
		"a command":     func() error { _, err := c.Publish(ctx, command); return err },
		"many commands": func() error { return c.PublishAll(ctx, []message.Message{command})[0] },
		"a key":         func() error { _, err := c.Put(ctx, subjects.Fleet, document("a")); return err },
		"keys in a batch": func() error {
			_, err := c.PutAll(ctx, subjects.Fleet, []bus.Change{document("a"), document("b")})
			return err
		},
	} {
		err := try()
		if fleet.KindOf(err) != fleet.Refused || !strings.Contains(err.Error(), "does not let viewer publish there") {
			t.Errorf("%s: %v (%s)", what, err, fleet.KindOf(err))
		}
		if ctx.Err() != nil {
			t.Fatalf("%s: it was waited for", what)
		}
	}
}
