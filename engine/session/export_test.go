package session

// OpenFS opens a store on a file system of a test.
var OpenFS = openFS
