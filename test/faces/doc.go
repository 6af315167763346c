// Package faces holds tests that drive an app of this project by Genkit's own command
// line, its Dev UI's server and its JavaScript client, as npm has them.
//
// They need node and the packages of package.json (make faces installs them: npm ci in
// this folder); GENKIT_FACES names another folder that holds a node_modules. Without
// them each test is skipped, and says so. No test asks a question or needs a network.
package faces
