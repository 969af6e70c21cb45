package nginx

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
)

// What nginx -t does not see and a reload fails at: found here, so that the
// nginx that serves is never told.

// lineFault is a fault at a place of the survey.
func lineFault(at fleet.Fault, format string, args ...any) fleet.Fault {
	message := fmt.Sprintf(format, args...)
	if strings.HasPrefix(at.Subject, "ConfigFile/") {
		at.Path, message = "spec.content", fmt.Sprintf("line %d: ", at.Line)+message
	}
	at.Line, at.Message = 0, message
	return at
}

// unbound are the addresses that nginx could not bind: those of other
// programs, those that this node does not have, and those that nginx itself
// blocks, because it holds the old socket until the new one is bound. They
// are held against an nginx that runs; one that is started finds them out by itself.
func (e *Engine) unbound(s survey) fleet.Faults {
	master := e.master.Load()
	if master == nil || !master.Alive() {
		return nil
	}
	ours := map[netip.AddrPort]bool{}
	for _, a := range host.ListeningOn(master.PID) {
		ours[a] = true
	}
	var faults fleet.Faults
	for _, l := range slices.SortedFunc(maps.Keys(s.listens), func(a, b listen) int {
		return cmp.Or(a.address.Compare(b.address), cmp.Compare(fmt.Sprint(a.udp), fmt.Sprint(b.udp)))
	}) {
		if ours[l.address] && !l.udp {
			continue
		}
		if problem := e.bindProblem(l, ours); problem != "" {
			faults = append(faults, eachOnce(s.listens[l], problem)...)
		}
	}
	return faults
}

// eachOnce is a fault of each resource that is at one of the places; the default
// host that Fairlead adds is nobody's fault.
func eachOnce(places []fleet.Fault, problem string) (faults fleet.Faults) {
	known := map[string]bool{}
	for _, at := range places {
		if !known[at.Subject] && (at.Subject != "" || len(places) == 1) {
			known[at.Subject] = true
			faults = append(faults, lineFault(at, "%s", problem))
		}
	}
	return faults
}

// bindProblem says why nginx could not listen on an address, "" where it could.
func (e *Engine) bindProblem(l listen, ours map[netip.AddrPort]bool) string {
	switch err := host.CanBind(l.address, l.udp); {
	case errors.Is(err, syscall.EADDRINUSE) && l.udp:
		// Whose it is cannot be told from nginx's own by /proc/net/tcp; nginx
		// says so at the reload, which is then taken back.
	case errors.Is(err, syscall.EADDRINUSE):
		return taken(l.address, ours)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Sprintf("listens on %s, and this node has no such address: give the node the address, or listen on one that it has", l.address)
	case errors.Is(err, syscall.EACCES):
		return fmt.Sprintf("listens on %s, and nginx may not, as the agent is not root: use a port from 1024 upwards", l.address)
	}
	return ""
}

func taken(address netip.AddrPort, ours map[netip.AddrPort]bool) string {
	for own := range ours {
		if own.Port() == address.Port() && own.Addr().Is4() == address.Addr().Is4() && (own.Addr().IsUnspecified() || address.Addr().IsUnspecified()) {
			return fmt.Sprintf("listens on %s, and nginx itself listens on %s now, which it gives up only after it has the new one: "+
				"stop using %s in one revision and use %s in the next", address, own, own, address)
		}
	}
	holder := host.Holder(address)
	if holder == "" {
		holder = "another program"
	}
	return fmt.Sprintf("listens on %s, which %s has: stop it, or use another port", address, holder)
}

// rekeyed are zones that nginx would use again with another key, which it
// refuses as it reloads. Typed resources name their zones by their keys, so it
// is raw configuration alone that can do that.
func (e *Engine) rekeyed(s survey) fleet.Faults {
	var raw []zone
	for z, k := range s.zones {
		if strings.HasPrefix(k.at.Subject, "ConfigFile/") {
			raw = append(raw, z)
		}
	}
	if len(raw) == 0 || !e.up() {
		return nil
	}
	running := surveyOf(e.good.rawFiles())
	slices.SortFunc(raw, func(a, b zone) int { return strings.Compare(a.name, b.name) })
	var faults fleet.Faults
	for _, z := range raw {
		now, next := running.zones[z], s.zones[z]
		if now.key == "" || now.key == next.key {
			continue
		}
		_, directive, _ := strings.Cut(z.directive, " ")
		what := "key"
		if strings.HasSuffix(directive, "_path") {
			what = "path"
		}
		faults = append(faults, lineFault(next.at, "%s gives the zone %q another %s, %s instead of %s, while it is in use, which nginx refuses: give the zone another name",
			directive, z.name, what, clip(next.key), clip(now.key)))
	}
	return faults
}

// rawFiles are a version's files of raw configuration, as they lie on disk.
func (v version) rawFiles() (files []File) {
	for _, f := range v.Manifest.Files {
		if !strings.HasPrefix(filepath.Base(f.Path), "configfile-") {
			continue
		}
		if content, err := os.ReadFile(filepath.Join(v.Dir, f.Path)); err == nil {
			files = append(files, File{Path: f.Path, Content: content, Owner: "ConfigFile/" + f.Path})
		}
	}
	return files
}

// Measured on nginx 1.22.1 with 10,000 small servers: 51 KB each. A reload
// holds the old configuration and the new one, and each worker has pages of
// its own of the new one, as it changes what it inherits.
const (
	bytesPerServer = 51 << 10
	bytesPerByte   = 8        // of configuration text, for what is no server
	reserve        = 64 << 20 // that others may need meanwhile
	mostBundle     = 64 << 20 // bytes of text
)

// tooLarge holds what nginx will need against what the machine has: it would
// not fail nginx -t, but take the node down.
func (e *Engine) tooLarge(b Bundle, s survey) error {
	text := 0
	for _, f := range b.Files {
		text += len(f.Content)
	}
	sets := ruleSets(b)
	need := uint64(s.servers)*bytesPerServer + uint64(text)*bytesPerByte + uint64(sets)*bytesPerRuleSet
	if text > mostBundle {
		return fleet.Errorf(fleet.Failed, "the configuration has %d MB, and at most %d are read: select fewer resources for this node", text>>20, mostBundle>>20)
	}
	if need < reserve/4 { // not worth a look
		return nil
	}
	free, err := e.memory()
	if err != nil {
		e.log.Debug("free memory is not known", "error", err)
		return nil
	}
	if need+reserve > free {
		return &nodeFault{fleet.Errorf(fleet.Failed, "%d servers%s and %d KB of configuration need some %d MB of memory while nginx loads them, and this node has %d MB left: "+
			"select fewer resources for it, or give it memory", s.servers, alsoRuleSets(sets), text>>10, need>>20, free>>20)}
	}
	return nil
}
