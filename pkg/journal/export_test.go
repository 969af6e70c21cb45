package journal

import "errors"

// Spoil asks for a write that changes something and then fails, or panics.
func (j *Journal) Spoil(panics bool) error {
	return j.write(false, func(w *writing) error {
		if err := w.put(bucketFacts, []byte("spoiled"), nil); err != nil {
			return err
		}
		if panics {
			panic("spoiled")
		}
		return errors.New("spoiled")
	})
}

// SetFormat makes the file say that it is of this format.
func (j *Journal) SetFormat(n uint64) error {
	return j.write(false, func(w *writing) error { return w.put(bucketMeta, keyFormat, position(n)) })
}
