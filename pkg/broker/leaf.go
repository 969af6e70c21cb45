package broker

import (
	"net/url"
	"path/filepath"

	"github.com/nats-io/nats-server/v2/server"

	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
)

// LeafConfig makes a broker a leafnode of others, its hub: it keeps nothing
// itself, and passes on what the nodes of one place say and hear, over one
// connection that it dials. Its clients are judged by it as by the hub.
//
// What crosses is what the user of the credentials may, whatever happens on
// this host. Dir is as identity.Authority.CreateLeaf writes it.
type LeafConfig struct {
	Hub []string // host:port, the Leafnodes addresses of the brokers of one hub
	Dir string   // its user, and the certificate without which the hub lets nobody speak
}

func (l LeafConfig) validate(whole Config, faults *fleet.Faults) {
	if whole.Cluster != nil || whole.Leafnodes != "" || whole.Gateway != nil {
		faults.Addf("leaf", "a leafnode is nothing else: no cluster, no gateway and no hub of others")
	}
	if len(l.Hub) == 0 {
		faults.Addf("leaf.hub", "missing: name the hub's address for leafnodes")
	}
	for _, address := range l.Hub {
		if _, _, err := route(address); err != nil {
			faults.Addf("leaf.hub", "%v", err)
		}
	}
	if l.Dir == "" {
		faults.Addf("leaf.dir", "missing: `fairlead broker leaf` makes it")
	}
}

// account is the tenant's, by its public key. Whether the credentials are good
// says the hub.
func (l LeafConfig) account() (string, error) {
	creds, err := identity.LoadCreds(filepath.Join(l.Dir, identity.LeafCreds))
	if creds == nil {
		return "", err
	}
	return creds.Account, nil
}

// leafnodes lets leafnodes connect, or makes the broker one.
func (c Config) leafnodes(o *server.Options) (err error) {
	if c.Leafnodes != "" {
		o.LeafNode.Host, o.LeafNode.Port, _ = route(c.Leafnodes)
		o.LeafNode.TLSHandshakeFirst, o.LeafNode.TLSTimeout, o.LeafNode.AuthTimeout = true, brokerHandshakeSeconds, brokerHandshakeSeconds
		o.JsAccDefaultDomain = passJetStream(c.Server)
		o.LeafNode.TLSConfig, err = c.Server.TLS.ForClients(true)
		return err
	}
	if c.Leaf == nil {
		return nil
	}
	account, err := c.Leaf.account()
	if err != nil {
		return err
	}
	in := func(name string) string { return filepath.Join(c.Leaf.Dir, name) }
	remote := &server.RemoteLeafOpts{LocalAccount: account, Credentials: in(identity.LeafCreds), TLS: true, TLSHandshakeFirst: true, TLSTimeout: brokerHandshakeSeconds}
	if remote.TLSConfig, err = c.Server.TLS.ForLeaf(in(identity.LeafCert), in(identity.LeafKey)); err != nil {
		return err
	}
	for _, address := range c.Leaf.Hub {
		remote.URLs = append(remote.URLs, &url.URL{Scheme: "tls", Host: address})
	}
	o.LeafNode.Remotes = []*server.RemoteLeafOpts{remote}
	o.JetStream, o.JsAccDefaultDomain = false, passJetStream(c.Server)
	return nil
}

// passJetStream lets what concerns JetStream cross between leafnode and hub,
// which nats-server keeps on each side else. What may cross says the leaf's user.
func passJetStream(s identity.Server) map[string]string {
	all := make(map[string]string)
	for account := range s.Accounts {
		if account != s.SystemAccount {
			all[account] = ""
		}
	}
	return all
}

// unmap takes its mappings from a leafnode's account. They are for what clients
// publish; the hub has them too, and here they would turn a command that arrives
// into one that is on its way.
func (c Config) unmap(s *server.Server) error {
	if c.Leaf == nil {
		return nil
	}
	key, err := c.Leaf.account()
	if err != nil {
		return err
	}
	account, err := s.LookupAccount(key)
	if err != nil {
		return fleet.Errorf(fleet.Invalid, "the account of the leafnode's user, %s: %w", key, err)
	}
	for _, from := range c.Server.Mapped(key) {
		account.RemoveMapping(from)
	}
	return nil
}

// validatePeers collects the faults of who else than clients connects.
func (c Config) validatePeers(faults *fleet.Faults) {
	if c.Leafnodes != "" {
		if _, _, err := route(c.Leafnodes); err != nil {
			faults.Addf("leafnodes", "%v", err)
		}
	}
	if c.Leaf != nil {
		c.Leaf.validate(c, faults)
	}
	if c.Gateway != nil {
		c.Gateway.validate(c, faults)
	}
}
