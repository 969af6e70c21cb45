package identity

import (
	"crypto/tls"

	"github.com/nats-io/jwt/v2"
)

// Server is all that a broker needs of an authority. No seed is in it: who
// takes a broker's host makes no account and no user.
type Server struct {
	OperatorJWT   string
	SystemAccount string            // public key of the account that monitors servers
	Accounts      map[string]string // JWTs of all accounts by public key, as they were when this was made
	Cluster       *tls.Config       // how brokers prove themselves to each other; nil where there is no cluster
}

// Server is what the brokers of this authority need.
func (a *Authority) Server() Server {
	return Server{OperatorJWT: a.OperatorJWT(), SystemAccount: a.SystemAccount(), Accounts: a.AccountJWTs(), Cluster: a.cluster}
}

// Issued reports whether a text is the JWT of an account that the operator
// signed, as it was signed.
func (s Server) Issued(account, text string) bool {
	operator, err := jwt.DecodeOperatorClaims(s.OperatorJWT)
	if err != nil {
		return false
	}
	claims, err := jwt.DecodeAccountClaims(text)
	return err == nil && claims.Subject == account && operator.DidSign(claims)
}
