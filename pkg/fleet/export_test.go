package fleet

// Salted reports whether a hash has so much salt that a guess need not be dear.
var Salted = salted
