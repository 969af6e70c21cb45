package dev_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"fairlead/pkg/bus"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// A desired state of a thousand hosts travels packed from station to node, and is
// plain for all who ask what it says.
func TestADesiredStateOfAThousandHostsTravelsPacked(t *testing.T) {
	t.Parallel()
	const hosts = 1000
	r := newRig(t, 1)
	r.station()
	r.agent(0)
	var text strings.Builder
	for i := range hosts {
		name := fmt.Sprintf("host%d.example.org", i)
		if i == hosts-1 {
			name = "_"
		}
		fmt.Fprintf(&text, "---\n{apiVersion: fairlead/v1, kind: VirtualHost, metadata: {name: host%d}, spec: {listen: [{port: 8080}], "+
			"serverNames: [%s], locations: [{path: /, return: {code: 200, text: this is host %d}}]}}\n", i, name, i)
	}
	all := set(t, text.String())
	succeeds(t, r.client, all, false)
	inSync(t, r.client, "node1")
	serves(t, r.nodes[0].Address, 8080, fmt.Sprintf("this is host %d", hosts-1))

	ctx, cancel := patient(t)
	defer cancel()
	d, err := r.client.Desired(ctx, "node1")
	if err != nil || len(d.Resources) != hosts {
		t.Fatalf("%d resources are desired: %v", len(d.Resources), err)
	}
	revisions, err := r.client.NodeHistory(ctx, "node1")
	if err != nil || len(revisions) == 0 {
		t.Fatal(revisions, err)
	}
	if last := revisions[len(revisions)-1]; last.Problem != "" || last.Resources != hosts {
		t.Errorf("the history ends with %+v, %v", last, err)
	}
	stored, err := r.client.Conn().Last(ctx, subjects.BucketStream(subjects.Desired), subjects.KeySubject(subjects.Desired, subjects.StateKey("node1", "nginxconfig", "nginx")))
	if err != nil || stored == nil {
		t.Fatal("the desired state is not there:", err)
	}
	e := bus.EntryOf(subjects.Desired, *stored)
	plain, err := e.Plain(message.DesiredSubject("node1", "nginxconfig", "nginx"))
	if err != nil || !slices.Equal(e.Headers[message.HeaderEncoding], []string{"zstd"}) || len(e.Body)*5 > len(plain) {
		t.Errorf("%d bytes are stored as %d: %v, %v", len(plain), len(e.Body), e.Headers, err)
	}
}
