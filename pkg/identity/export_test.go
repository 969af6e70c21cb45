package identity

// The work of a passphrase is small in tests.
func init() { scryptWork = 10 }
