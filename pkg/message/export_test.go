package message

// SignedBytes is what the signature of a message covers, also of one that Sign
// would make otherwise.
func SignedBytes(m Message) ([]byte, error) { return m.signed() }
