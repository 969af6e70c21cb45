// Package identity makes and keeps the keys of an installation: an operator,
// its system account, one account per tenant, and the users of a tenant, as
// NATS JWTs that any nats-server and the nats tool understand.
//
// What lies in the directory is the truth and is made once. A key that exists
// is never made anew: where one is missing that a JWT already names, Open
// says so instead of cutting every user off. Each file is written beside its
// place and renamed into it, and each step needs only what came before it, so
// a kill at any moment leaves a directory that the next Open completes.
// Processes take turns by a lock on the directory.
//
// A role is a scoped signing key of the account: its permissions stand in the
// account's JWT, once, and a user's JWT holds none. When the grants in the
// code change, Open issues the account anew and every user has the new
// permissions at its next connection, with the key that it has.
//
//	<dir>/operator.seed, operator.jwt
//	<dir>/system/account.seed, account.jwt, monitor.creds
//	<dir>/tenants/<tenant>/account.seed, account.jwt, <role>.seed, station.curve
//	<dir>/users/<name>.creds
//
// Directories are 0700 and files 0600. An Authority is safe for use by
// several goroutines.
package identity
