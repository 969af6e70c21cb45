package client_test

import (
	"fmt"
	"testing"

	"fairlead/pkg/client"
	"fairlead/pkg/message"
)

func TestEqualOutcomesAreOneGroup(t *testing.T) {
	outcome := func(node string, state message.State, text string) client.Outcome {
		return client.Outcome{Sent: client.Sent{Node: node}, State: state, Answer: message.Answer{Message: text}}
	}
	groups := client.Groups([]client.Outcome{
		outcome("b", message.FailedEnd, `2026/11/26 21:13:01 [emerg] 123#123: unknown directive "foo" on b`),
		outcome("n2", message.Succeeded, "revision 4 serves"),
		outcome("a", message.FailedEnd, `2026/11/26 21:13:02 [emerg] 7#7: unknown directive "foo" on a`),
		outcome("n1", message.Succeeded, "revision 7 serves"),
		outcome("n3", message.Succeeded, "revision 7 serves"),
		outcome("c", message.FailedEnd, `bind() to 10.0.0.7:80 failed`),
		outcome("d", message.FailedEnd, `404 of about-d`),
		outcome("e", message.FailedEnd, `405 of about-d`),
	})
	var got []string
	for _, g := range groups {
		got = append(got, fmt.Sprintf("%s %v %s", g.State, g.Nodes, g.Message))
	}
	want := []string{
		"succeeded [n1 n2 n3] revision … serves",
		`failed [a b] … [emerg] … unknown directive "foo" on …`,
		"failed [c] bind() to 10.0.0.7:80 failed",
		"failed [d] 404 of about-d",
		"failed [e] 405 of about-d",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q\nwant %q", got, want)
	}
}
