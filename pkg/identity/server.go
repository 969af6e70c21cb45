package identity

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/jwt/v2"

	"fairlead/pkg/fleet"
)

// Server is all that a broker needs of an authority. No seed is in it: who
// takes a broker's host makes no account and no user. The key of the broker's
// own certificate is its only secret.
type Server struct {
	OperatorJWT   string
	SystemAccount string            // public key of the account that monitors servers
	Accounts      map[string]string // JWTs of all accounts by public key, as they were when this was made
	TLS           TLSFiles
}

// Server is what the brokers of this authority need, as it lies in BrokerDir.
func (a *Authority) Server() Server {
	return Server{OperatorJWT: a.OperatorJWT(), SystemAccount: a.SystemAccount(), Accounts: a.AccountJWTs(), TLS: tlsFiles(a.BrokerDir())}
}

// BrokerDir is the directory that holds all that a broker's host needs: it can
// be copied there, and the rest of the identity directory left out.
func (a *Authority) BrokerDir() string { return filepath.Join(a.dir, "broker") }

// LoadServer reads a directory as BrokerDir is one. The error is Invalid and
// says which file is wrong.
func LoadServer(dir string) (Server, error) {
	invalid := func(name string, err error) (Server, error) {
		return Server{}, fleet.Errorf(fleet.Invalid, "%s: %w", filepath.Join(dir, name), err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "operator.jwt"))
	if errors.Is(err, fs.ErrNotExist) {
		return Server{}, fleet.Errorf(fleet.Invalid, "%s is not what a broker needs: copy the directory broker of an identity directory there, as `fairlead init` makes one", dir)
	}
	if err != nil {
		return invalid("operator.jwt", err)
	}
	operator, err := jwt.DecodeOperatorClaims(string(text))
	if err != nil {
		return invalid("operator.jwt", err)
	}
	s := Server{OperatorJWT: string(text), SystemAccount: operator.SystemAccount, Accounts: make(map[string]string), TLS: tlsFiles(dir)}
	paths, err := filepath.Glob(filepath.Join(dir, "accounts", "*.jwt"))
	if err != nil {
		return Server{}, err
	}
	for _, path := range paths {
		key := strings.TrimSuffix(filepath.Base(path), ".jwt")
		text, err := os.ReadFile(path)
		if err != nil {
			return Server{}, fleet.Errorf(fleet.Invalid, "accounts of the broker: %w", err)
		}
		if !s.Issued(key, string(text)) {
			return invalid(filepath.Join("accounts", key+".jwt"), errors.New("is not this operator's account of that name: copy the whole directory again"))
		}
		s.Accounts[key] = string(text)
	}
	if s.Accounts[s.SystemAccount] == "" {
		return invalid("accounts", fmt.Errorf("the system account %s is missing: copy the whole directory again", s.SystemAccount))
	}
	_, err = tls.LoadX509KeyPair(s.TLS.Cert, s.TLS.Key)
	if err != nil {
		return invalid("tls.pem", err)
	}
	return s, nil
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

// Mapped are the subjects that an account has brokers store under others.
func (s Server) Mapped(account string) (from []string) {
	claims, err := jwt.DecodeAccountClaims(s.Accounts[account])
	if err != nil {
		return nil
	}
	for subject := range claims.Mappings {
		from = append(from, string(subject))
	}
	return from
}
