package station

import (
	"math"
	"strconv"
	"strings"
	"time"

	"fairlead/pkg/fleet"
)

// Fields are what a field selector can ask of a node, as a person reads them.
func Fields() []fleet.Field {
	known := make([]fleet.Field, len(fields))
	for i, f := range fields {
		known[i] = f.Field
	}
	return known
}

// NotInSync is the field selector of nodes that are not what they should be.
const NotInSync = "sync notin (" + InSync + "," + NoneDue + ")"

// Both is the field selector of what two choose; either may be empty.
func Both(a, b string) string { return strings.Trim(a+","+b, ",") }

// field is one of them, and what a node has there; facts are nil where it has
// told none.
type field struct {
	fleet.Field
	value func(n NodeStatus, facts *fleet.Facts, now time.Time) fleet.FieldValue
}

var fields = []field{
	{fleet.Field{Name: "name", Summary: "its name"}, text(func(n NodeStatus) string { return n.Name })},
	{fleet.Field{Name: "presence", Summary: "whether it is there", Words: []string{Online, Offline, Duplicate, Uncertain, NeverWas}},
		text(func(n NodeStatus) string { return n.Presence })},
	{fleet.Field{Name: "seen", Kind: fleet.SpanField, Summary: "how long ago it was seen; one that never was is longer ago than anything"}, seen},
	{fleet.Field{Name: "sync", Summary: "how what it is compares with what it should be",
		Words: []string{InSync, Pending, Partial, FailedIn, Unfit, Drifted, Unsaid, NoneDue}}, text(func(n NodeStatus) string { return n.Sync })},
	{fleet.Field{Name: "message", Summary: "why it is not in sync"}, text(func(n NodeStatus) string { return n.Message })},
	{fleet.Field{Name: "revision", Kind: fleet.NumberField, Summary: "the revision that it should be"},
		number(func(n NodeStatus) uint64 { return n.DesiredRevision })},
	{fleet.Field{Name: "observed", Kind: fleet.NumberField, Summary: "the revision that it proved"},
		number(func(n NodeStatus) uint64 { return n.ObservedRevision })},
	{fleet.Field{Name: "digest", Summary: "the digest that it should run"}, text(func(n NodeStatus) string { return n.DesiredDigest })},
	{fleet.Field{Name: "running", Summary: "the digest that its nginx answers"}, text(func(n NodeStatus) string { return n.RunningDigest })},
	{fleet.Field{Name: "waiting", Kind: fleet.NumberField, Summary: "how many commands to it have no final answer"},
		number(func(n NodeStatus) uint64 { return uint64(n.Waiting) })},
	{fleet.Field{Name: "drained", Summary: "whether it is taken out of selections and rollouts", Words: []string{"true", "false"}},
		text(func(n NodeStatus) string { return strconv.FormatBool(n.Drained != nil) })},
	{fleet.Field{Name: "certificate", Kind: fleet.SpanField, Summary: "how long the certificate is good that ends first"},
		left(func(n NodeStatus) (ends time.Time) {
			if n.Expiring != nil {
				ends = n.Expiring.NotAfter
			}
			return ends
		})},
	{fleet.Field{Name: "jwt", Kind: fleet.SpanField, Summary: "how long its JWT is good"}, left(func(n NodeStatus) time.Time { return n.JWTUntil })},
	{fleet.Field{Name: "address", Summary: "where its virtual hosts listen when they do not say"}, text(func(n NodeStatus) string { return n.Address })},
	{fleet.Field{Name: "agent.version", Kind: fleet.VersionField, Summary: "the version of its agent"}, text(func(n NodeStatus) string { return n.Version })},
	{fleet.Field{Name: "nginx.version", Kind: fleet.VersionField, Summary: "the version of its nginx"}, fact(func(f *fleet.Facts) string { return f.Nginx })},
	{fleet.Field{Name: "nginx.features", Kind: fleet.ListField, Summary: "what its nginx was built with"}, facts(func(f *fleet.Facts) []string { return f.Features })},
	{fleet.Field{Name: "nginx.modules", Kind: fleet.ListField, Summary: "the dynamic modules of its nginx"}, facts(func(f *fleet.Facts) []string { return f.Modules })},
	{fleet.Field{Name: "os", Summary: "its operating system, such as debian-12"}, fact(func(f *fleet.Facts) string { return f.OS })},
	{fleet.Field{Name: "arch", Summary: "its processor's architecture, such as amd64"}, fact(func(f *fleet.Facts) string { return f.Arch })},
	{fleet.Field{Name: "cpus", Kind: fleet.NumberField, Summary: "how many processors the agent may use"},
		fact(func(f *fleet.Facts) string { return strconv.Itoa(f.CPUs) })},
	{fleet.Field{Name: "link", Summary: "the class of its link: lan, wan or satellite"}, fact(func(f *fleet.Facts) string { return f.Link })},
	{fleet.Field{Name: "link.today", Kind: fleet.NumberField, Summary: "how many bytes its link carried today, by UTC"}, linkToday},
	{fleet.Field{Name: "hostname", Summary: "the name that its host has"}, fact(func(f *fleet.Facts) string { return f.Hostname })},
}

// valueOf is what a node has in a field of that name.
func valueOf(name string, n NodeStatus, facts *fleet.Facts, now time.Time) fleet.FieldValue {
	for _, f := range fields {
		if f.Name == name {
			return f.value(n, facts, now)
		}
	}
	return fleet.FieldValue{}
}

func seen(n NodeStatus, _ *fleet.Facts, now time.Time) fleet.FieldValue {
	if n.LastSeen.IsZero() {
		return fleet.FieldValue{Known: true, Span: math.MaxInt64}
	}
	return fleet.FieldValue{Known: true, Span: max(now.Sub(n.LastSeen), 0)}
}

func linkToday(n NodeStatus, _ *fleet.Facts, _ time.Time) fleet.FieldValue {
	return fleet.FieldValue{Known: n.LinkToday > 0, Text: strconv.FormatUint(n.LinkToday, 10)}
}

func text(get func(NodeStatus) string) func(NodeStatus, *fleet.Facts, time.Time) fleet.FieldValue {
	return func(n NodeStatus, _ *fleet.Facts, _ time.Time) fleet.FieldValue { return fleet.Text(get(n)) }
}

func number(get func(NodeStatus) uint64) func(NodeStatus, *fleet.Facts, time.Time) fleet.FieldValue {
	return text(func(n NodeStatus) string { return strconv.FormatUint(get(n), 10) })
}

// left is how long it is to a moment; nothing is known where there is none.
func left(get func(NodeStatus) time.Time) func(NodeStatus, *fleet.Facts, time.Time) fleet.FieldValue {
	return func(n NodeStatus, _ *fleet.Facts, now time.Time) fleet.FieldValue {
		at := get(n)
		return fleet.FieldValue{Known: !at.IsZero(), Span: at.Sub(now)}
	}
}

func fact(get func(*fleet.Facts) string) func(NodeStatus, *fleet.Facts, time.Time) fleet.FieldValue {
	return func(_ NodeStatus, f *fleet.Facts, _ time.Time) fleet.FieldValue {
		if f == nil {
			return fleet.FieldValue{}
		}
		return fleet.Text(get(f))
	}
}

func facts(get func(*fleet.Facts) []string) func(NodeStatus, *fleet.Facts, time.Time) fleet.FieldValue {
	return func(_ NodeStatus, f *fleet.Facts, _ time.Time) fleet.FieldValue {
		if f == nil {
			return fleet.FieldValue{}
		}
		return fleet.FieldValue{Known: true, List: get(f)}
	}
}
