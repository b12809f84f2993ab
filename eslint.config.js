import js from "@eslint/js";
import globals from "globals";

export default [
  js.configs.recommended,
  {
    files: ["cellucid_dask/page/static/*.js"],
    languageOptions: { globals: { ...globals.browser, onmessage: "writable" } },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "consistent-return": "off",
      eqeqeq: "error",
      "max-lines": ["error", 200],
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-new-func": "error",
      "no-restricted-properties": [
        "error",
        { property: "innerHTML", message: "Text only: names come from somebody else's file." },
        { property: "outerHTML", message: "Text only." },
        { property: "insertAdjacentHTML", message: "Text only." },
        { property: "write", object: "document", message: "Text only." },
      ],
      "no-var": "error",
      "prefer-const": ["error", { destructuring: "all" }],
    },
  },
];
