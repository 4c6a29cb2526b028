/** Something is under way; `text` says what. */
export function Working({ text }: { readonly text: string }) {
  return (
    <p class="working" data-testid="working">
      <span class="dots" aria-hidden="true">
        <i />
        <i />
        <i />
      </span>
      {text}
    </p>
  );
}
