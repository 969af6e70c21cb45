package identity

// CheapPassphrases makes the work of a passphrase small, for tests.
func CheapPassphrases() { scryptWork = 10 }
