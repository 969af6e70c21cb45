package subjects

import (
	"slices"
	"strings"
)

// GrantLeaf is what may cross the line between a leafnode and its hub: what the
// tenant's nodes may say and hear, and nothing else. It cannot be limited to some
// nodes: brokers tell each other who listens where by whole patterns, such as
// live.sync.*, and only those that are allowed as a whole. Nobody joins through a
// leafnode: replies to him could be read there by all.
func GrantLeaf() (p Permissions) {
	whole := strings.NewReplacer("<node>", "*", "<user>", "*")
	for _, row := range Table() {
		subject := whole.Replace(row.Subject)
		if slices.Contains(row.Publishes, Node) {
			p.Publish = append(p.Publish, subject)
		}
		if slices.Contains(row.Subscribes, Node) {
			p.Subscribe = append(p.Subscribe, subject)
		}
	}
	// What the hub listens on ends in >, which the star here allows to tell of; a
	// message that it lets through besides is one that nobody reads.
	for _, bucket := range []string{Desired, Trust, Blobs} {
		p.Publish = append(p.Publish, "$JS.API.DIRECT.GET."+BucketStream(bucket)+".*")
	}
	p.Publish = append(p.Publish, KeySubject(Reported, "*"))
	slices.Sort(p.Publish)
	slices.Sort(p.Subscribe)
	return p
}
