// Styles stand in files, never in the page: the content security policy forbids the rest.
export default { compilerOptions: { css: 'external', runes: true } };
