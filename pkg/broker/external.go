package broker

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
)

// External is a broker that runs as a nats-server of one's own, with a copy of
// a broker's directory (identity.Authority.CopyBroker) on its host.
type External struct {
	Name   string // the server's
	Listen string // for clients; "0.0.0.0:4222" when empty
	Dir    string // where that copy lies on its host
	Store  string // where streams and accounts go there
	Sync   string // as in Config; "always" when empty

	VerifyClients bool
	Cluster       *ClusterConfig // nil is a broker by itself
	Leafnodes     string         // host:port where leafnodes may connect; "" nowhere
	Gateway       string         // host:port for other clusters; "" nowhere
	// Gateways are the Gateway addresses of other clusters, by their names.
	Gateways map[string][]string
}

func (e External) complete() External {
	if e.Listen == "" {
		e.Listen = "0.0.0.0:4222"
	}
	if e.Sync == "" {
		e.Sync = "always"
	}
	if e.Cluster != nil {
		c := e.Cluster.withDefaults()
		e.Cluster = &c
	}
	return e
}

// validate returns all faults; the kind is Invalid.
func (e External) validate(s identity.Server) error {
	var faults fleet.Faults
	c := Config{Name: e.Name, Server: s, StoreDir: e.Store, Sync: e.Sync, Cluster: e.Cluster}
	_ = errors.As(c.Validate(), &faults) // all of them
	if e.Name == "" && e.Cluster == nil {
		faults.Addf("name", "missing")
	}
	for field, address := range map[string]string{"listen": e.Listen, "leafnodes": e.Leafnodes, "gateway": e.Gateway} {
		if _, _, err := route(address); err != nil && address != "" {
			faults.Addf(field, "%v", err)
		}
	}
	for field, dir := range map[string]string{"dir": e.Dir, "store": e.Store} {
		if !path.IsAbs(dir) {
			faults.Addf(field, "%q is not a whole path from the root: it is another host's", dir)
		}
	}
	if e.Gateway == "" && len(e.Gateways) > 0 || e.Gateway != "" && e.Cluster == nil {
		faults.Addf("gateway", "a gateway is of a cluster, and other clusters are reached by one")
	}
	return faults.Err()
}

// Configuration is what nats-server is to be given: it needs nothing else but
// Dir. The error is Invalid and holds all faults.
func (e External) Configuration(s identity.Server) (string, error) {
	e = e.complete()
	if err := e.validate(s); err != nil {
		return "", err
	}
	w := &config{}
	w.line("# nats-server with the identities of one fleet; start it with: nats-server -c FILE")
	w.line("# The accounts below are those of the first start. What is pushed later is kept in the resolver's directory.")
	w.text("server_name", e.Name)
	w.text("listen", e.Listen)
	w.set("max_connections", maxConnections)
	w.set("max_payload", maxPayload)
	w.text("ping_interval", pingInterval.String())
	w.block("authorization", func() { w.set("timeout", handshakeSeconds) })
	w.block("tls", func() {
		w.certificate(e.Dir, true)
		if e.VerifyClients {
			w.text("ca_file", path.Join(e.Dir, "nodes-ca.pem"))
			w.set("verify", true)
		}
	})
	w.line("")
	w.block("jetstream", func() {
		w.text("store_dir", e.Store)
		w.text("sync_interval", e.Sync)
		w.line("# by itself nats-server refuses the 1,001st consumer of a stream")
		w.block("limits", func() { w.set("default_max_consumers", -1) })
	})
	w.line("")
	w.text("operator", s.OperatorJWT)
	w.text("system_account", s.SystemAccount)
	w.block("resolver", func() {
		w.text("type", "full")
		w.text("dir", path.Join(e.Store, "accounts"))
		w.set("allow_delete", true)
		w.text("interval", accountsEvery.String())
		w.text("timeout", accountTime.String())
	})
	w.block("resolver_preload", func() {
		for _, key := range slices.Sorted(maps.Keys(s.Accounts)) {
			w.text(key, s.Accounts[key])
		}
	})
	e.peers(w, s)
	return w.String(), nil
}

// peers are those who are no clients: each side shows a broker's certificate, a
// leafnode one of the authority for clients.
func (e External) peers(w *config, s identity.Server) {
	if c := e.Cluster; c != nil {
		w.line("")
		w.block("cluster", func() {
			w.text("name", c.Name)
			w.text("listen", c.Listen)
			w.text("compression", compression)
			w.mutual(e.Dir)
			w.list("routes", "nats-route", c.Routes)
		})
	}
	if e.Leafnodes != "" {
		w.line("")
		w.block("leafnodes", func() {
			w.text("listen", e.Leafnodes)
			w.block("tls", func() {
				w.certificate(e.Dir, true)
				w.text("ca_file", path.Join(e.Dir, "nodes-ca.pem"))
				w.set("verify", true)
			})
		})
		w.line("# what concerns JetStream crosses the line of a leafnode")
		w.block("default_js_domain", func() {
			for _, key := range slices.Sorted(maps.Keys(passJetStream(s))) {
				w.text(key, "")
			}
		})
	}
	if e.Gateway != "" {
		w.line("")
		w.block("gateway", func() {
			w.text("name", e.Cluster.Name)
			w.text("listen", e.Gateway)
			w.mutual(e.Dir)
			w.line("gateways: [")
			for _, name := range slices.Sorted(maps.Keys(e.Gateways)) {
				w.line("  {")
				w.text("    name", name)
				w.list("    urls", "nats", e.Gateways[name])
				w.line("  }")
			}
			w.line("]")
		})
	}
}

// config is text in the form that nats-server reads.
type config struct {
	strings.Builder
	indent string
}

func (w *config) line(text string) {
	if text != "" {
		text = w.indent + text
	}
	w.WriteString(text + "\n")
}

// text is a value that is no number: what could be taken for something else,
// such as a path with a dollar sign, stands in quotes.
func (w *config) text(name, value string)    { w.line(name + ": " + strconv.Quote(value)) }
func (w *config) set(name string, value any) { w.line(fmt.Sprintf("%s: %v", name, value)) }

func (w *config) block(name string, inside func()) {
	w.line(name + " {")
	outer := w.indent
	w.indent += "  "
	inside()
	w.indent = outer
	w.line("}")
}

func (w *config) list(name, scheme string, addresses []string) {
	var all []string
	for _, a := range addresses {
		all = append(all, strconv.Quote((&url.URL{Scheme: scheme, Host: a}).String()))
	}
	w.line(name + ": [" + strings.Join(all, ", ") + "]")
}

func (w *config) certificate(dir string, first bool) {
	w.text("cert_file", path.Join(dir, "tls.pem"))
	w.text("key_file", path.Join(dir, "tls.key"))
	w.text("min_version", "1.3")
	w.set("timeout", handshakeSeconds)
	if first {
		w.set("handshake_first", true)
	}
}

func (w *config) mutual(dir string) {
	w.block("tls", func() {
		w.certificate(dir, false)
		w.text("ca_file", path.Join(dir, "ca.pem"))
		w.set("verify", true)
	})
}
