// Package identity makes and keeps the keys of an installation: an operator,
// its system account, one account per tenant, and the users of a tenant, as
// NATS JWTs that any nats-server and the nats tool understand.
//
// What lies in the directory is the truth and is made once. A key that exists
// is never made anew: where one is missing that a JWT already names, Open
// says so instead of cutting every user off, or, for keys that sign seldom,
// takes it to be kept elsewhere until it has to sign. Each file is written beside its
// place and renamed into it, and each step needs only what came before it, so
// a kill at any moment leaves a directory that the next Open completes.
// Processes take turns by a lock on the directory.
//
// A role is a scoped signing key of the account: its permissions stand in the
// account's JWT, once, and a user's JWT holds none. When the grants in the
// code change, Open issues the account anew and every user has the new
// permissions at its next connection, with the key that it has.
//
// A broker gets the directory broker, which follows the others, and in which
// the key of its own certificate is the only secret. Certificates begin when
// their authority did, so that a host whose clock is behind believes them.
//
// A user who is limited to some nodes or methods has a signing key of his own,
// whose scope in the account says what he may. So no key in the directory can
// sign a user with permissions that the account does not know.
//
//	<dir>/operator.jwt, operator.seed                  the root: signs operator.jwt alone
//	<dir>/operator-signing.seed, -signing.next.seed    sign accounts; the second is a spare that brokers believe already
//	<dir>/system/account.jwt, account.seed, signing.seed, system.creds
//	<dir>/tenants/<tenant>/account.jwt, account.seed   the account: its seed signs vouchers alone
//	<dir>/tenants/<tenant>/<role>.seed                 sign the users of a role
//	<dir>/tenants/<tenant>/limited/<name>.seed         signs that user
//	<dir>/tenants/<tenant>/trust.json, trust.seed      whom to believe, and the key that says so
//	<dir>/tenants/<tenant>/station.keys, curve.pub     what its stations share
//	<dir>/tenants/<tenant>/users/<name>.creds, .jwt    JWT and private key, or the JWT alone where the key was given away
//	<dir>/ca/ca.pem, ca.key, nodes.pem, nodes.key      authorities for the certificates of brokers, and of clients
//	<dir>/broker/                                      all that a broker's host needs, see Server
//	<dir>/passphrase.age, passphrase.pub               where seeds are encrypted: X.seed.age with X.pub beside it
//
// Directories are 0700 and files 0600. User, and all that only reads, is
// safe for use by several goroutines; what else changes an Authority is for one
// at a time. Any number of them may work on one directory.
package identity
