package identity

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// listMost is how many revoked nodes one list names: some 170 bytes each, far
// below what a message may hold. A revocation writes one list anew.
const listMost = 1000

// RevokedNodes are the lists of revoked nodes that TrustFile names, for
// whoever stores that. The error is Unknown where one is not in the directory.
func (a *Authority) RevokedNodes() (bodies [][]byte, err error) {
	unlock, err := lock(a.dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	last, err := a.lastTrust()
	if err != nil {
		return nil, err
	}
	return a.readLists(last.RevokedNodes)
}

// LoadRevoked are the lists of revoked nodes that lie beside a file with a trust
// set, as they do in an identity directory; none where there are none.
func LoadRevoked(trustFile string) (bodies [][]byte, err error) {
	paths, err := filepath.Glob(filepath.Join(filepath.Dir(trustFile), revokedDir, "*"+revokedSuffix))
	for _, path := range paths {
		body, rerr := os.ReadFile(path)
		if rerr != nil {
			return nil, fleet.Errorf(fleet.Invalid, "read which nodes were revoked: %w", rerr)
		}
		bodies = append(bodies, body)
	}
	return bodies, err
}

const (
	revokedDir    = "revoked"
	revokedSuffix = ".json"
)

func (a *Authority) revokedFile(hash string) string { return a.in(revokedDir, hash+revokedSuffix) }

func (a *Authority) readLists(names []string) (bodies [][]byte, err error) {
	for _, hash := range names {
		path := a.revokedFile(hash)
		body, err := readFile(path)
		if err != nil {
			return nil, err
		}
		if body == nil || message.HashRevoked(body) != hash {
			return nil, fleet.Errorf(fleet.Unknown, "%s, which %s names, is not there: `fairlead tenant push` fetches it from the brokers, or restore both from one backup", path, a.TrustFile())
		}
		bodies = append(bodies, body)
	}
	return bodies, nil
}

// revokedLists are the lists that a set names, decoded.
func (a *Authority) revokedLists(set message.TrustSet) (lists [][]message.RevokedKey, err error) {
	bodies, err := a.readLists(set.RevokedNodes)
	if err != nil {
		return nil, err
	}
	for _, body := range bodies {
		keys, err := message.DecodeRevoked(body)
		if err != nil {
			return nil, err
		}
		lists = append(lists, keys)
	}
	return lists, nil
}

// lastRevoked are all keys that the last trust set takes back, nodes' too.
func (a *Authority) lastRevoked() ([]message.RevokedKey, error) {
	last, err := a.lastTrust()
	if err != nil {
		return nil, err
	}
	lists, err := a.revokedLists(last)
	return slices.Concat(last.Revoked, slices.Concat(lists...)), err
}

// layOut puts the nodes among the revoked keys of a set into lists. Who is in one
// stays there, so that a revocation changes the last list alone.
func layOut(set message.TrustSet, before [][]message.RevokedKey) (message.TrustSet, [][]byte) {
	nodes := make(map[string]message.RevokedKey)
	var people, left []message.RevokedKey
	for _, k := range set.Revoked {
		if k.Role == subjects.Node {
			nodes[k.Key] = k
		} else {
			people = append(people, k)
		}
	}
	var lists [][]message.RevokedKey
	placed := make(map[string]bool)
	for _, list := range before {
		var stay []message.RevokedKey
		for _, k := range list {
			if now, there := nodes[k.Key]; there {
				stay, placed[k.Key] = append(stay, now), true
			}
		}
		if len(stay) > 0 {
			lists = append(lists, stay)
		}
	}
	for _, k := range set.Revoked {
		if k.Role == subjects.Node && !placed[k.Key] {
			left = append(left, k)
		}
	}
	if last := len(lists) - 1; last >= 0 && len(left) > 0 {
		room := min(max(listMost-len(lists[last]), 0), len(left))
		lists[last], left = append(lists[last], left[:room]...), left[room:]
	}
	for list := range slices.Chunk(left, listMost) {
		lists = append(lists, list)
	}
	set.Revoked, set.RevokedNodes = people, nil
	var bodies [][]byte
	for _, list := range lists {
		body := message.EncodeRevoked(list)
		bodies = append(bodies, body)
		set.RevokedNodes = append(set.RevokedNodes, message.HashRevoked(body))
	}
	return set, bodies
}

// dropLists removes the files of lists that are not named any more.
func (a *Authority) dropLists(names []string) error {
	paths, err := filepath.Glob(a.revokedFile("*"))
	if err != nil {
		return err
	}
	for _, path := range paths {
		if !slices.Contains(names, strings.TrimSuffix(filepath.Base(path), revokedSuffix)) {
			if err := removeFile(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// keepLists writes lists that a set of the brokers' names.
func (a *Authority) keepLists(bodies [][]byte) error {
	for _, body := range bodies {
		if _, err := message.DecodeRevoked(body); err != nil {
			return fmt.Errorf("take over which nodes were revoked: %w", err)
		}
		if err := rewrite(a.revokedFile(message.HashRevoked(body)), body); err != nil {
			return err
		}
	}
	return nil
}
