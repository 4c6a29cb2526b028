export function withoutInlineStyles(code: string): string;
