package nginx

// Blame is implemented by an error in the chain of one that Apply returns
// where the fault lies with some of the bundle's resources.
type Blame interface {
	Owners() []string // their IDs, each once, sorted
}

// withOwners adds owners to an error whose text names them already.
func withOwners(err error, owners []string) error {
	if len(owners) == 0 {
		return err
	}
	return &blameError{err, owners}
}

type blameError struct {
	error
	owners []string
}

func (b *blameError) Unwrap() error    { return b.error }
func (b *blameError) Owners() []string { return b.owners }
