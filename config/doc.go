// Package config loads and checks the configuration of every part of sluice.
//
// It knows none of them: each part owns its Config struct beside its code, with
// the defaults already in it, and is bound to a path at run time.
//
//	defaults < file < environment < flags
//	    └────────┴────────┴───────────┴──► merged tree ──► bound structs ──► Validate
//	                                        (koanf)         one *Error with every problem
//
// It guarantees that nothing is ignored in silence: an unknown key, a value of
// the wrong kind or out of range, a key given twice and everything a Validate
// method finds are reported at once, one line each, with the file and line, the
// variable or the flag it came from. No input makes it panic or expand without
// bound, and no value of a Secret appears in a message or in what Print writes.
//
// A Config is a struct whose exported fields carry koanf:"snake_case" (or "-"),
// doc:"what it is", and where they apply oneof:"a,b", min:"1", max:"9". A field
// is text, Secret, bool, any integer or float, time.Duration, Size, a type with
// UnmarshalText, a list of these, a map from text to these, or a struct of such
// fields. Validate() error may return errors.Join of "key: problem", the key
// relative to its struct; nested structs are asked by themselves.
//
// Only the value that counts is checked: one in the file that a variable
// replaces is not. It does not watch the file, and interpolates nothing.
package config
