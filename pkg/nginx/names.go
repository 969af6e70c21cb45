package nginx

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
)

const (
	// lookupTime bounds one look at all names that are due: nginx itself would
	// wait for 10 s and then refuse the whole configuration.
	lookupTime = 2 * time.Second
	// fresh is how long an answer serves an apply without another question.
	fresh = time.Minute
	// lookups is how many names are asked for at the same time.
	lookups = 32
)

// names knows the addresses of the names in upstreams. nginx gets addresses
// alone, so that a name that cannot be resolved harms its own server and
// nothing else. Last good answers are kept on disk, for as long as anybody
// asks for the name.
type names struct {
	file string
	log  *slog.Logger

	mu     sync.Mutex
	known  map[string]answer
	saving sync.Mutex
}

// answer is what is known of a name.
type answer struct {
	Addresses []netip.Addr `json:"addresses"` // sorted; the last good ones
	At        time.Time    `json:"at"`        // when they were given
	problem   string       // why there are no newer ones, "" when there are
	looked    time.Time    // when somebody asked last, by this agent
}

func newNames(file string, log *slog.Logger) *names {
	return &names{file: file, log: log, known: map[string]answer{}}
}

// restore reads the last good answers; without them names are asked for anew.
func (n *names) restore() {
	data, err := os.ReadFile(n.file)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	known := map[string]answer{}
	if err == nil {
		err = json.Unmarshal(data, &known)
	}
	if err != nil {
		n.log.Warn("the last good addresses of upstreams' names are lost", "error", err)
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.known = known
}

// of is what is known of a name.
func (n *names) of(name string) answer {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.known[name]
}

// look asks for names whose last answer is older than age, all at once and for
// lookupTime at most, and keeps what is good.
func (n *names) look(ctx context.Context, resolvers, all []string, age time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	var tasks sync.WaitGroup
	tokens := make(chan struct{}, lookups)
	asked := false
	for _, name := range all {
		if n.of(name).knownFor(age) {
			continue
		}
		asked = true
		tasks.Go(func() {
			select {
			case tokens <- struct{}{}:
				defer func() { <-tokens }()
			case <-ctx.Done():
			}
			addresses, err := lookUp(ctx, resolvers, name)
			n.learn(name, addresses, err)
		})
	}
	tasks.Wait()
	if asked {
		n.save()
	}
}

// knownFor says whether an answer will do for age; a bad one does for a moment,
// for an apply that is tried again at once.
func (a answer) knownFor(age time.Duration) bool {
	if a.problem != "" {
		age = min(age, 5*time.Second)
	}
	return !a.looked.IsZero() && time.Since(a.looked) < age
}

// learn keeps the good addresses where there are no new ones.
func (n *names) learn(name string, addresses []netip.Addr, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	a := n.known[name]
	a.looked = time.Now()
	if err != nil {
		a.problem = err.Error()
	} else {
		a.Addresses, a.At, a.problem = addresses, a.looked.UTC(), ""
	}
	n.known[name] = a
}

// forget drops all names but these.
func (n *names) forget(but []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	maps.DeleteFunc(n.known, func(name string, _ answer) bool { return !slices.Contains(but, name) })
}

func (n *names) save() {
	n.saving.Lock()
	defer n.saving.Unlock()
	n.mu.Lock()
	good := maps.Clone(n.known)
	n.mu.Unlock()
	maps.DeleteFunc(good, func(_ string, a answer) bool { return len(a.Addresses) == 0 })
	data, err := json.Marshal(good)
	if err == nil {
		if old, _ := os.ReadFile(n.file); len(good) == 0 && old == nil {
			return
		}
		err = host.WriteFile(n.file, append(data, '\n'), 0o600)
	}
	if err != nil {
		n.log.Warn("the addresses of upstreams' names will not be known after a restart", "error", err)
	}
}

// lookUp asks the resolvers for all addresses of a name, side by side, and
// takes the first good answer. Without resolvers it asks as the host does.
func lookUp(ctx context.Context, resolvers []string, name string) ([]netip.Addr, error) {
	if len(resolvers) == 0 {
		return addressesOf(net.DefaultResolver.LookupNetIP(ctx, "ip", name))
	}
	type result struct {
		addresses []netip.Addr
		err       error
	}
	results := make(chan result, len(resolvers))
	for _, server := range resolvers {
		if _, err := netip.ParseAddrPort(server); err != nil {
			server = net.JoinHostPort(server, "53")
		}
		go func() {
			r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, server)
			}}
			addresses, err := addressesOf(r.LookupNetIP(ctx, "ip", strings.TrimSuffix(name, ".")+".")) // no search domains of the host
			results <- result{addresses, err}
		}()
	}
	var errs []error
	for range resolvers {
		select {
		case r := <-results:
			if r.err == nil {
				return r.addresses, nil
			}
			errs = append(errs, r.err)
		case <-ctx.Done():
			return nil, fleet.Errorf(fleet.Timeout, "no answer within %v", lookupTime)
		}
	}
	return nil, errs[0]
}

// addressesOf sorts what was found, without what this kernel cannot reach.
func addressesOf(all []netip.Addr, err error) ([]netip.Addr, error) {
	if err != nil {
		var dns *net.DNSError
		switch {
		case !errors.As(err, &dns):
			return nil, err
		case dns.IsTimeout:
			return nil, fleet.Errorf(fleet.Timeout, "no answer within %v", lookupTime)
		}
		return nil, errors.New(dns.Err)
	}
	var found []netip.Addr
	for _, a := range all {
		if a = a.Unmap(); a.Is4() || host.HasIPv6() && a.Zone() == "" {
			found = append(found, a)
		}
	}
	slices.SortFunc(found, netip.Addr.Compare)
	found = slices.Compact(found)
	if len(found) == 0 {
		return nil, errors.New("no address that this host can reach")
	}
	return found[:min(len(found), maxAddresses)], nil
}
