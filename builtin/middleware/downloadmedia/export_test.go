package downloadmedia

// Public is public.
var Public = public
