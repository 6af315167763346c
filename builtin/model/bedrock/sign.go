package bedrock

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Credentials are those of an account of AWS. SessionToken is set for those that end.
type Credentials struct {
	AccessKeyID, SecretAccessKey, SessionToken string
}

// String leaves the secrets out.
func (c Credentials) String() string { return "bedrock.Credentials{" + c.AccessKeyID + "}" }

// GoString leaves the secrets out.
func (c Credentials) GoString() string { return c.String() }

// Source returns credentials for one request; it is asked at each, concurrently.
type Source func(ctx context.Context) (Credentials, error)

// DefaultCredentials reads AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN,
// else the profile of AWS_PROFILE, which is "default" where it is not set, in the file of
// AWS_SHARED_CREDENTIALS_FILE, which is ~/.aws/credentials where it is not set. Without any
// it is UNAUTHENTICATED.
func DefaultCredentials(context.Context) (Credentials, error) {
	c := Credentials{os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY"), os.Getenv("AWS_SESSION_TOKEN")}
	if c.AccessKeyID != "" && c.SecretAccessKey != "" {
		return c, nil
	}
	file := os.Getenv("AWS_SHARED_CREDENTIALS_FILE")
	if home, err := os.UserHomeDir(); file == "" && err == nil {
		file = filepath.Join(home, ".aws", "credentials")
	}
	if c = profile(file, wire.Or(os.Getenv("AWS_PROFILE"), "default")); c.AccessKeyID != "" && c.SecretAccessKey != "" {
		return c, nil
	}
	return Credentials{}, status.Publicf(status.Unauthenticated,
		"no credentials of AWS: set AWS_BEARER_TOKEN_BEDROCK, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile of the credentials file in AWS_PROFILE")
}

// profile reads a section of a credentials file; what can't be read is empty.
func profile(file, name string) Credentials {
	var c Credentials
	f, err := os.Open(file)
	if err != nil {
		return c
	}
	defer func() { _ = f.Close() }() // it was only read
	fields := map[string]*string{"aws_access_key_id": &c.AccessKeyID, "aws_secret_access_key": &c.SecretAccessKey, "aws_session_token": &c.SessionToken}
	inside := false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if strings.HasPrefix(line, "[") {
			inside = strings.TrimSpace(strings.Trim(line, "[]")) == name
			continue
		}
		key, value, found := strings.Cut(line, "=")
		if field := fields[strings.ToLower(strings.TrimSpace(key))]; found && inside && field != nil {
			*field = strings.TrimSpace(value)
		}
	}
	return c
}

const (
	algorithm = "AWS4-HMAC-SHA256"
	service   = "bedrock"
	dateForm  = "20060102T150405Z"
	dayLength = len("20060102")
)

// sign signs a request by Signature Version 4. Source: AWS, "Create a signed AWS API request".
// A path is escaped once more than it is sent, as all services but S3 want it.
func sign(req *http.Request, body []byte, c Credentials, region string, now time.Time) {
	date := now.UTC().Format(dateForm)
	day := date[:dayLength]
	req.Header.Set("X-Amz-Date", date)
	if c.SessionToken != "" {
		req.Header.Set("X-Amz-Security-Token", c.SessionToken)
	}
	signed := map[string]string{"host": req.URL.Host, "content-length": strconv.Itoa(len(body)), "content-type": req.Header.Get("Content-Type"), "x-amz-date": date}
	if c.SessionToken != "" {
		signed["x-amz-security-token"] = c.SessionToken
	}
	names := make([]string, 0, len(signed))
	for name := range signed {
		names = append(names, name)
	}
	slices.Sort(names)
	var headers strings.Builder
	for _, name := range names {
		headers.WriteString(name + ":" + strings.TrimSpace(signed[name]) + "\n")
	}
	list := strings.Join(names, ";")
	canonical := strings.Join([]string{req.Method, escape(req.URL.EscapedPath(), "/"), "", headers.String(), list, digest(body)}, "\n")
	scope := strings.Join([]string{day, region, service, "aws4_request"}, "/")
	key := []byte("AWS4" + c.SecretAccessKey)
	for _, step := range []string{day, region, service, "aws4_request"} {
		key = mac(key, step)
	}
	signature := hex.EncodeToString(mac(key, strings.Join([]string{algorithm, date, scope, digest([]byte(canonical))}, "\n")))
	req.Header.Set("Authorization", algorithm+" Credential="+c.AccessKeyID+"/"+scope+", SignedHeaders="+list+", Signature="+signature)
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	_, _ = h.Write([]byte(text)) // it does not fail
	return h.Sum(nil)
}

// escape escapes all bytes but those that RFC 3986 calls unreserved, and those of keep.
func escape(text, keep string) string {
	const hexDigits = "0123456789ABCDEF"
	const digit = 16
	var out strings.Builder
	for _, b := range []byte(text) {
		if (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') || (b >= '0' && b <= '9') || strings.IndexByte("-_.~"+keep, b) >= 0 {
			out.WriteByte(b)
			continue
		}
		out.WriteByte('%')
		out.WriteByte(hexDigits[b/digit])
		out.WriteByte(hexDigits[b%digit])
	}
	return out.String()
}
