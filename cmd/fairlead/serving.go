package main

import (
	"fmt"
	"time"

	"fairlead/pkg/station"
)

// servingRows say what nginx would read from disk and what it runs, each with
// the revision that it is, and what is to be said of trials and failures.
func servingRows(t *table, n station.NodeDetail) {
	t.row("on disk", named(n, n.Reported.DiskDigest))
	t.row("running", named(n, n.RunningDigest))
	if b := n.Reported.Bake; b != nil {
		t.row("bake", fmt.Sprintf("revision %d, baking until %s", b.Revision, b.Until.Local().Format(time.DateTime)))
	}
	for _, q := range n.Reported.Quarantine {
		again := "not tried again by itself"
		if q.Pardoned {
			again = "to be tried again"
		}
		t.row("quarantine", fmt.Sprintf("revision %d %s%s, %s: %s", q.Revision, short(q.Digest), since(q.At, n.Now), again, oneLine(q.Reason)))
	}
}

// named is a digest with the revision of the node that it belongs to, as far
// as that is known.
func named(n station.NodeDetail, digest string) string {
	switch digest {
	case "":
		return "-"
	case n.DesiredDigest:
		return revision(n.DesiredRevision, digest)
	case n.Reported.Digest:
		return revision(n.ObservedRevision, digest)
	}
	for _, q := range n.Reported.Quarantine {
		if q.Digest == digest {
			return revision(q.Revision, digest)
		}
	}
	return "? " + short(digest)
}
