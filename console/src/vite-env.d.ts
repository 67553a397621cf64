// The types of what Vite imports.
/// <reference types="vite/client" />
