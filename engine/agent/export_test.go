package agent

// OpenFS opens a store on a file system of a test.
var OpenFS = openFS

// Diff is the patch that makes one value of another.
var Diff = diff
