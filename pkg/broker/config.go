package broker

import (
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
)

// Config says how a broker runs. Server and StoreDir are needed; the rest
// has defaults.
type Config struct {
	Name string // the server's name in monitoring; "fairlead" when empty
	Host string // address to listen on; "127.0.0.1" when empty
	Port int    // 0 takes a free port, -1 listens nowhere: InProcessConn only

	StoreDir string // JetStream's files; made where missing
	// Sync is when stored messages reach the disk: "always" (the default),
	// before they are acknowledged, or at most an interval later, "2m".
	Sync string
	// MaxStore bounds the bytes stored, and what streams may reserve; 0 is what
	// is stored already and three quarters of what the disk has left. It is
	// never less than what streams have reserved before, and where tenants have
	// quotas of storage those are the only bounds.
	MaxStore  int64
	maxMemory int64 // 0 is nats-server's own bound
	// MaxConnections bounds the connections; 65,536 when 0.
	MaxConnections int

	Server  identity.Server
	Cluster *ClusterConfig // nil is a broker by itself

	// Leafnodes is host:port where leafnodes may connect, "" nowhere.
	Leafnodes string
	Leaf      *LeafConfig    // makes this broker one, nil does not
	Gateway   *GatewayConfig // joins its cluster to others, nil does not

	// Clients connect by TLS 1.3, with the handshake first. CertFile and KeyFile
	// replace the certificate of Server; between brokers that one stays, because
	// who has a certificate of a public authority is not one of them.
	CertFile, KeyFile string
	// VerifyClients takes nobody, people included, who shows no certificate of
	// the authority for clients, whatever his credentials are.
	VerifyClients bool
	// Plain is without TLS, for measurements: it has to be an address of this
	// host alone.
	Plain bool
	// Drain is how long the end takes at most while clients are connected;
	// 500 ms when zero, negative closes all of them at once.
	Drain time.Duration
	// MonitorAddr is where nats-server's HTTP monitor listens, "" nowhere.
	// It has no authentication, so it must be an address of this host alone.
	MonitorAddr string

	Logger *slog.Logger // slog.Default when nil
}

const (
	defaultDrain = 500 * time.Millisecond
	// maxConnections is what a broker for a large fleet needs; each costs
	// about 53 KB with TLS.
	maxConnections = 65536
	// handshakeSeconds is for a client, and long enough for a wave of reconnects:
	// 10,000 handshakes wait for each other, see door, and agents have as much
	// patience. Brokers among themselves are few.
	handshakeSeconds       = 30.0
	brokerHandshakeSeconds = 10.0
	// pingInterval is above what nodes let pass between two signs of life: a
	// connection that speaks is not asked, and stays small.
	pingInterval = 40 * time.Second
	maxPayload   = 1 << 20
	// closedKept is how many connections that ended the monitor can tell of.
	// nats-server would keep 10,000, each with its JWT and subscriptions: 3 KB of
	// every node of a fleet that came back once.
	closedKept = 100
)

// withDefaults fills what is empty.
func (c Config) withDefaults() Config {
	if c.Name == "" {
		c.Name = "fairlead"
	}
	if c.Host == "" {
		c.Host = "127.0.0.1"
	}
	if c.Sync == "" {
		c.Sync = "always"
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = maxConnections
	}
	if c.Drain == 0 {
		c.Drain = defaultDrain
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// Validate returns all faults; the kind is Invalid.
func (c Config) Validate() error {
	var faults fleet.Faults
	if c.Cluster != nil {
		c.Cluster.validate(c, &faults)
	}
	c = c.withDefaults()
	if c.Server.OperatorJWT == "" {
		faults.Addf("server", "missing: a broker without an operator would have to trust everybody")
	}
	c.validateTLS(&faults)
	c.validatePeers(&faults)
	if c.StoreDir == "" {
		faults.Addf("store", "missing: name a directory for JetStream's files")
	}
	if c.Port < -1 || c.Port > 65535 {
		faults.Addf("port", "%d: use 1 to 65535, 0 for a free one or -1 for none", c.Port)
	}
	if _, err := c.syncInterval(); err != nil {
		faults.Addf("sync", "%q: use always or a duration from 100ms, such as 2m", c.Sync)
	}
	if c.MaxStore < 0 {
		faults.Addf("maxStore", "%d: use a number of bytes, or 0 for what the disk has", c.MaxStore)
	}
	if _, _, err := c.monitor(); err != nil {
		faults.Addf("monitor", "%v", err)
	}
	return faults.Err()
}

func (c Config) validateTLS(faults *fleet.Faults) {
	if (c.CertFile == "") != (c.KeyFile == "") {
		faults.Addf("tls", "a certificate without its key, or a key without its certificate: give both files")
	}
	if c.Plain && (c.VerifyClients || c.CertFile != "") {
		faults.Addf("tls", "a certificate is given or asked for where there is no TLS")
	}
	if c.Plain && c.Port != -1 && !loopback(c.Host) {
		faults.Addf("tls", "without TLS everybody on the way reads along: listen on 127.0.0.1, or with TLS")
	}
}

// loopback reports whether an address is of this host alone.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// syncInterval is 0 for always.
func (c Config) syncInterval() (time.Duration, error) {
	if c.Sync == "always" {
		return 0, nil
	}
	d, err := time.ParseDuration(c.Sync)
	if err == nil && d < 100*time.Millisecond {
		err = fleet.Errorf(fleet.Invalid, "too short")
	}
	return d, err
}

// monitor splits MonitorAddr; port 0 is off.
func (c Config) monitor() (host string, port int, err error) {
	if c.MonitorAddr == "" {
		return "", 0, nil
	}
	host, text, err := net.SplitHostPort(c.MonitorAddr)
	if err != nil {
		return "", 0, fleet.Errorf(fleet.Invalid, "%q: use host:port", c.MonitorAddr)
	}
	if port, err = strconv.Atoi(text); err != nil || port < 0 || port > 65535 {
		return "", 0, fleet.Errorf(fleet.Invalid, "%q: the port is not a number from 0 to 65535", c.MonitorAddr)
	}
	if !loopback(host) {
		return "", 0, fleet.Errorf(fleet.Invalid, "%q: the monitor has no authentication: use 127.0.0.1, or put a proxy before it", c.MonitorAddr)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, nil
}

// options are nats-server's. c has its defaults and is valid.
func (c Config) options() (*server.Options, error) {
	operator, err := server.ReadOperatorJWT(c.Server.OperatorJWT)
	if err != nil {
		return nil, err
	}
	o := &server.Options{
		ServerName: c.Name, Host: c.Host, Port: c.Port,
		NoSigs: true, DisableJetStreamBanner: true,
		MaxConn: c.MaxConnections, MaxPayload: maxPayload, PingInterval: pingInterval, MaxClosedClients: closedKept,
		AuthTimeout: handshakeSeconds, TLSTimeout: handshakeSeconds,
		JetStream: true, StoreDir: c.StoreDir, JetStreamMaxStore: c.MaxStore, JetStreamMaxMemory: c.maxMemory,
		// nats-server 2.15 would refuse the 1,001st consumer of a stream,
		// watchers of a bucket included.
		JetStreamLimits: server.JSLimitOpts{DefaultMaxConsumers: -1},
		SystemAccount:   c.Server.SystemAccount,
	}
	o.TrustedOperators = append(o.TrustedOperators, operator)
	if o.AccountResolver, err = c.accounts(); err != nil {
		return nil, err
	}
	if err := c.secure(o); err != nil {
		return nil, err
	}
	switch c.Port {
	case 0:
		o.Port = server.RANDOM_PORT
	case -1:
		o.DontListen = true
	}
	o.SyncInterval, _ = c.syncInterval()
	o.SyncAlways = o.SyncInterval == 0
	if c.Drain > 0 {
		o.LameDuckDuration, o.LameDuckGracePeriod = c.Drain, c.Drain/10
	}
	o.HTTPHost, o.HTTPPort, _ = c.monitor()
	if c.Cluster != nil {
		if err := c.join(o); err != nil {
			return nil, err
		}
	}
	if err := c.leafnodes(o); err != nil {
		return nil, err
	}
	return o, c.gateway(o)
}

// secure adds TLS for clients. A client that does not begin with it is told
// nothing.
func (c Config) secure(o *server.Options) (err error) {
	if c.Plain {
		return nil
	}
	files := c.Server.TLS
	if c.CertFile != "" {
		files.Cert, files.Key = c.CertFile, c.KeyFile
	}
	if o.TLSConfig, err = files.ForClients(c.VerifyClients); err != nil {
		return err
	}
	o.TLSConfig = newDoor().before(o.TLSConfig)
	o.TLS, o.TLSHandshakeFirst, o.TLSVerify = true, true, c.VerifyClients
	return nil
}
