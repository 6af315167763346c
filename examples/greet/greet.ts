import { tool, s } from "genkit";

interface Greeting { name: string; times?: number }

tool({
  name: "greet",
  description: "Greets somebody by name.",
  input: s.object({ name: s.string(), times: s.integer({ minimum: 1, maximum: 3 }).optional() }),
  run: async ({ name, times = 1 }: Greeting) => {
    if (name === "nobody") {
      throw new RangeError("there is nobody to greet");
    }
    console.log("greeting", name);
    return { greeting: `Hello, ${name}!`.repeat(times) };
  },
});
