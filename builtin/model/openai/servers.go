package openai

import "slices"

// Server is a server of the chat-completions family that is known.
type Server struct {
	Profile
	// BaseURL is where it is, KeyVariable the environment variable that its own clients read
	// the key from.
	BaseURL, KeyVariable string
}

// servers are known by the names of their profiles.
var servers = []struct{ name, baseURL, keyVariable string }{
	{"deepseek", "https://api.deepseek.com", "DEEPSEEK_API_KEY"},
	{"groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY"},
	{"xai", "https://api.x.ai/v1", "XAI_API_KEY"},
	{"mistral", "https://api.mistral.ai/v1", "MISTRAL_API_KEY"},
	{"huggingface", "https://router.huggingface.co/v1", "HF_TOKEN"},
	{"openrouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"},
	{"kimi", "https://api.moonshot.ai/v1", "MOONSHOT_API_KEY"},
	{"zai", "https://api.z.ai/api/paas/v4", "ZAI_API_KEY"},
	{"dashscope", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "DASHSCOPE_API_KEY"},
}

// Servers returns the servers that are known. The caller owns the slice.
func Servers() []Server {
	all := make([]Server, 0, len(servers))
	for _, s := range servers {
		profile, _ := ProfileNamed(s.name)
		all = append(all, Server{profile, s.baseURL, s.keyVariable})
	}
	return all
}

// ServerNamed returns a server by its name, such as "groq".
func ServerNamed(name string) (Server, bool) {
	all := Servers()
	i := slices.IndexFunc(all, func(s Server) bool { return s.Name == name })
	if i < 0 {
		return Server{}, false
	}
	return all[i], true
}
